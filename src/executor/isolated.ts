/** Runs a step's command through another program that speaks our protocol: another process, user, container or host. */

import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { MustEndError } from '../errors.ts';
import { taskSecrets } from '../process/environment.ts';
import type { ProcessLimits } from '../process/limits.ts';
import { createOutputLines, MAX_OUTPUT_BYTES } from '../process/output/output-lines.ts';
import { createRedactor } from '../process/output/redact.ts';
import { endMarkedProcesses, type ProcessIdentity, startTicksOf } from '../process/process-table.ts';
import { capturedProblem, tooMuchOutput } from './captured-problem.ts';
import { createCapturedText } from './captured-text.ts';
import { type Conversation, converse } from './conversation.ts';
import type { CapturedOutput, Executor, StepCommand, StepHooks, StepResult } from './executor.ts';
import { MAX_CAPTURED_BYTES } from './local.ts';
import { MAX_MS } from './protocol.ts';

export interface IsolatedExecutorOptions {
  /** What runs `iac-runner exec`; `--stream` is added to it. */
  command: readonly [string, ...string[]];
  /** Of that program itself: PATH, HOME and the like. Nothing of it reaches a step by us. */
  environment: Readonly<Record<string, string>>;
  /** Masked in every output, beside what the names of a step's variables tell to be secret. Not told to the executor. */
  secrets?: readonly string[];
  /** Default 16 KiB. */
  maxLineBytes?: number;
  /** Of one step; default 64 MiB. */
  maxOutputBytes?: number;
  /** What every process of a step may use. */
  limits?: ProcessLimits | null;
  /** From TERM to KILL; default 5 s. */
  killGraceMs?: number;
  /** Until the executor has started a step, and how much longer than the step it may take; default 60 s and 15 s. */
  startLimitMs?: number;
  endLimitMs?: number;
  /** How long the executor goes on with a step of which it hears nothing from here; default 30 s. */
  silenceMs?: number;
}

const START_LIMIT_MS = 60_000;
const END_LIMIT_MS = 15_000;
const KILL_GRACE_MS = 5_000;
const SILENCE_MS = 30_000;
const MINUTE_MS = 60_000;

/**
 * The environment of a step is exactly the step's, and `IAC_PROCESS_ID`. When the executor fails, what it started is
 * looked for on this machine and ended; on another one the executor does so itself when its stdin ends.
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
  const secrets = secretsOf(options, command);
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
  if (tooMuch.signal.aborted) return { kind: 'failed', problem: tooMuchOutput(MAX_CAPTURED_BYTES) };
  const said = createCapturedText(stdout.join(''), secretsOf(options, command));
  if (result.kind === 'exited') return { ...result, stdout: said, stderr: said.mask(stderr.toString()) };
  return { kind: 'failed', problem: said.mask(capturedProblem(result, command.timeoutMs)) };
}

const MAX_STDERR_BYTES = 64 * 1024;

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
        silenceMs: Math.min(options.silenceMs ?? SILENCE_MS, MAX_MS),
        mask: createRedactor(secretsOf(options, command)),
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
          timeout: timeoutMs / MINUTE_MS,
          interrupt_ms: Math.min(interruptGraceMs, MAX_MS),
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

function secretsOf(options: IsolatedExecutorOptions, { secrets = [], env }: StepCommand): string[] {
  return [...(options.secrets ?? []), ...secrets, ...taskSecrets(env)];
}

/** Not in a container or on another host, where the same id is somebody else's here. */
function isHere({ pid, startTicks }: ProcessIdentity): boolean {
  return startTicksOf(pid) === startTicks;
}
