/** Runs the command of a step through another program that speaks our protocol, perhaps as another user or on another host. */

import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { MustEndError } from '../errors.ts';
import type { ProcessLimits } from '../process/limits.ts';
import { createOutputLines, MAX_OUTPUT_BYTES } from '../process/output/output-lines.ts';
import { createRedactor } from '../process/output/redact.ts';
import { type ProcessIdentity, startTicksOf } from '../process/process-stat.ts';
import { endMarkedProcesses } from '../process/process-table.ts';
import { KIBIBYTE, MAX_TIMER_MS, MINUTE, SECOND } from '../units.ts';
import { createCapturedText } from './captured-text.ts';
import { type Conversation, converse } from './conversation.ts';
import type { CapturedOutput, Executor, StepCommand, StepHooks, StepResult } from './executor.ts';
import {
  type ExecutorOptions,
  MAX_CAPTURED_BYTES,
  stepSecrets,
  TOO_MUCH_OUTPUT,
} from './executor-options.ts';
import { resultWords } from './result-words.ts';

export interface IsolatedExecutorOptions extends ExecutorOptions {
  /** The command that runs `iac-runner exec`. `--stream` is added to it. */
  command: readonly [string, ...string[]];
  /** The environment of that command: PATH, HOME and the like. A step gets nothing of it. */
  environment: Readonly<Record<string, string>>;
  /** How long the executor may take to start a step. Default 60 s. */
  startLimitMs?: number;
  /** How long the executor may take beyond the time of the step. Default 15 s. */
  endLimitMs?: number;
  /** The executor ends a step if it gets no sign of life for so long. Default 30 s. */
  silenceMs?: number;
}

const START_LIMIT_MS = MINUTE;
const END_LIMIT_MS = 15 * SECOND;
const KILL_GRACE_MS = 5 * SECOND;
const SILENCE_MS = 30 * SECOND;
const MAX_STDERR_BYTES = 64 * KIBIBYTE;

/**
 * A step gets exactly its own environment and `IAC_PROCESS_ID`. If the executor fails, the processes that it started are
 * searched on this machine and ended. On another machine the executor ends them itself when its stdin ends.
 */
export function createIsolatedExecutor(options: IsolatedExecutorOptions): Executor {
  return {
    run: (command, hooks) => runStep(options, command, hooks),
    capture: (command) => captureOutput(options, command),
  };
}

async function runStep(
  options: IsolatedExecutorOptions,
  command: StepCommand,
  hooks: StepHooks,
): Promise<StepResult> {
  const maxOutputBytes = options.maxOutputBytes ?? MAX_OUTPUT_BYTES;
  const secrets = stepSecrets(options, command);
  const output = createOutputLines({ secrets, maxLineBytes: options.maxLineBytes, maxOutputBytes });
  const result = await carryOut(options, command, maxOutputBytes, {
    onStarted: (process, executor) => hooks.onStart(isHere(process) ? process : executor),
    async onOutput(stream, text) {
      const lines = output.push(stream, Buffer.from(text));
      if (lines.length > 0) await hooks.onLines(stream, lines);
    },
    onLeftOut: (leftOut) => hooks.onLines('stdout', output.leaveOut(leftOut)),
  });
  for (const { stream, lines } of output.finish()) await hooks.onLines(stream, lines);
  return result;
}

async function captureOutput(
  options: IsolatedExecutorOptions,
  command: StepCommand,
): Promise<CapturedOutput> {
  const tooMuch = new AbortController();
  const signal = AbortSignal.any([command.signal, tooMuch.signal]);
  const { interruptGraceMs: _never, ...rest } = command;
  const stdout: string[] = [];
  let stdoutBytes = 0;
  let stderr = Buffer.alloc(0);
  const result = await carryOut(options, { ...rest, signal }, null, {
    onStarted() {},
    onOutput(stream, text) {
      if (stream === 'stderr') {
        stderr = Buffer.concat([stderr, Buffer.from(text)]).subarray(-MAX_STDERR_BYTES);
        return;
      }
      stdoutBytes += Buffer.byteLength(text);
      if (stdoutBytes > MAX_CAPTURED_BYTES) tooMuch.abort();
      else stdout.push(text);
    },
    onLeftOut() {},
  });
  if (tooMuch.signal.aborted) return { kind: 'failed', problem: TOO_MUCH_OUTPUT };
  const said = createCapturedText(stdout.join(''), stepSecrets(options, command));
  if (result.kind === 'exited') return { ...result, stdout: said, stderr: said.mask(stderr.toString()) };
  return { kind: 'failed', problem: said.mask(resultWords(result, command.timeoutMs)) };
}

async function carryOut(
  options: IsolatedExecutorOptions,
  command: StepCommand,
  maxOutputBytes: number | null,
  hooks: Pick<Conversation, 'onStarted' | 'onOutput' | 'onLeftOut'>,
): Promise<StepResult> {
  const { timeoutMs, signal, interruptGraceMs = 0 } = command;
  const processId = randomUUID();
  const killGraceMs = options.killGraceMs ?? KILL_GRACE_MS;
  const endingMs = interruptGraceMs + killGraceMs;
  let isKnown = false;
  try {
    const result = await converse(
      {
        argv: [...options.command, '--stream'],
        environment: options.environment,
        startLimitMs: options.startLimitMs ?? START_LIMIT_MS,
        endLimitMs: options.endLimitMs ?? END_LIMIT_MS,
        killGraceMs,
        silenceMs: Math.min(options.silenceMs ?? SILENCE_MS, MAX_TIMER_MS),
        mask: createRedactor(stepSecrets(options, command)),
      },
      {
        ...hooks,
        async onResult(text) {
          if (command.result) await writeFile(command.result.file, text, { mode: 0o600 });
        },
        request: {
          argv: [...command.argv],
          work_dir: command.cwd,
          env_vars: { ...command.env, IAC_PROCESS_ID: processId },
          timeout: timeoutMs / MINUTE,
          interrupt_ms: Math.min(interruptGraceMs, MAX_TIMER_MS),
          ...(command.input === undefined ? {} : { input: command.input }),
          ...(command.result === undefined ? {} : { result_variable: command.result.variable }),
          ...(maxOutputBytes === null ? {} : { max_output_bytes: maxOutputBytes }),
          ...(options.limits ? { limits: limitsOf(options.limits) } : {}),
        },
        timeoutMs,
        endingMs,
        signal,
      },
    );
    isKnown = result.kind !== 'lost';
    return result;
  } finally {
    const { reason } = signal as { reason: unknown };
    const graceMs = reason instanceof MustEndError ? Math.min(endingMs, reason.endWithinMs) : endingMs;
    if (!isKnown) await endMarkedProcesses({ marker: `IAC_PROCESS_ID=${processId}`, graceMs });
  }
}

function limitsOf({ cpuSeconds, memoryBytes, openFiles }: ProcessLimits) {
  return { cpu_seconds: cpuSeconds, memory_bytes: memoryBytes, open_files: openFiles };
}

/** False in a container or on another host, where the same id belongs to another process here. */
function isHere({ pid, startTicks }: ProcessIdentity): boolean {
  return startTicksOf(pid) === startTicks;
}
