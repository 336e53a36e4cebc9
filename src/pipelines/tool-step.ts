/** Runs one command of Terraform or OpenTofu as a step: its log, its process, and how it ended. */

import type { CapturedText } from '../executor/captured-text.ts';
import type { Executor, StepResult } from '../executor/executor.ts';
import { shownCommand } from '../runs/deployments/tool-flags.ts';
import type { RunReason, RunState, StepState } from '../runs/run.ts';
import type { RunEventBody } from '../runs/run-events.ts';
import type { Ended } from './pipeline.ts';

export interface ToolOptions {
  executor: Executor;
  /** From an interrupt, which lets the tool save its state and release its lock, to TERM. */
  interruptGraceMs: number;
}

/** The tool as it is called for one run. */
export interface PreparedTool {
  /** The program; what it is asked for follows. */
  program: string;
  /** The root module's folder. */
  cwd: string;
  env: Record<string, string>;
  /** Masked in every log, and in plans and outputs as they are shown. */
  secrets: readonly string[];
  /**
   * The values of variables that the request gave, masked in logs alone: a plan that is to be approved, and outputs that
   * others work with, have to hold them.
   */
  given: readonly string[];
  timeoutMs: number;
}

/** What steps need of their run. */
export interface StepContext {
  signal: AbortSignal;
  draining: AbortSignal;
  emit(...events: RunEventBody[]): Promise<void>;
}

/** A step did not succeed, so the run ends like this. */
export class StepFailed extends Error {
  readonly outcome: Ended;

  constructor(outcome: Ended) {
    super(outcome.message);
    this.outcome = outcome;
  }
}

interface ToolCall {
  step: string;
  argv: readonly string[];
  /** Shown after `argv`, and given to the tool in its environment: everybody may read the arguments of a process. */
  flags?: readonly string[];
  /** False leaves the step open for what still belongs to it. */
  finish?: boolean;
  /** Remarks of ours, logged before what the tool says. */
  prefaceLines?: readonly string[];
}

/**
 * Runs `argv` of the tool as step `step`. Throws StepFailed unless it exits with 0, and the signal's reason when
 * that ended it.
 */
export async function runToolStep(
  { executor, interruptGraceMs }: ToolOptions,
  tool: PreparedTool,
  context: StepContext,
  { step, argv, flags = [], finish = true, prefaceLines = [] }: ToolCall,
): Promise<void> {
  context.draining.throwIfAborted();
  const command = [tool.program, ...argv] as const;
  const said = createErrorFinder();
  const shown = shownCommand([...command, ...flags]);
  await context.emit({ type: 'step.started', step, command: shown, ledger: null });
  if (prefaceLines.length > 0) {
    await context.emit({ type: 'step.log', step, stream: 'stderr', lines: [...prefaceLines] });
  }
  const result = await executor.run(
    {
      ...tool,
      env: { ...tool.env, ...flagVariable(argv[0], flags) },
      secrets: [...tool.secrets, ...tool.given],
      argv: command,
      signal: context.signal,
      interruptGraceMs,
    },
    {
      onStart: ({ pid, startTicks }) => void context.emit({ type: 'step.process', step, pid, startTicks }),
      onLines(stream, lines) {
        said.look(lines);
        return context.emit({ type: 'step.log', step, stream, lines });
      },
    },
  );
  const end = judge(result, step, tool.timeoutMs, said.first());
  if (end === null) {
    if (finish) await finishStep(context, step, 'succeeded', 'Done', 0);
    return;
  }
  await finishStep(context, step, end.stepState, end.message, end.exitCode);
  if (end.stepState === 'cancelled') {
    context.signal.throwIfAborted();
    throw new Error(`Step ${step} was cancelled by nobody.`);
  }
  throw new StepFailed({ state: end.state, reason: end.reason, message: end.message });
}

/** Both tools put these before their own arguments: https://developer.hashicorp.com/terraform/cli/config/environment-variables */
function flagVariable(command: string | undefined, flags: readonly string[]): Record<string, string> {
  if (command === undefined || flags.length === 0) return {};
  const quoted = flags.map((flag) => `'${flag.replaceAll("'", String.raw`'\''`)}'`);
  return { [`TF_CLI_ARGS_${command}`]: quoted.join(' ') };
}

/** stdout of a command of the tool that has no log. Throws StepFailed, with the step's end stored, unless it exits with 0. */
export async function captureTool(
  { executor }: ToolOptions,
  tool: PreparedTool,
  context: StepContext,
  { step, argv }: { step: string; argv: readonly string[] },
): Promise<CapturedText> {
  const result = await executor.capture({ ...tool, argv: [tool.program, ...argv], signal: context.signal });
  if (result.kind === 'exited' && result.exitCode === 0) return result.stdout;
  context.signal.throwIfAborted();
  const problem = result.kind === 'exited' ? `ended with exit code ${result.exitCode}` : result.problem;
  const message = `${step}: ${argv[0]} ${problem}`;
  await finishStep(context, step, 'failed', message, null);
  throw new StepFailed({ state: 'failed', reason: 'step_failed', message });
}

export function finishStep(
  { emit }: StepContext,
  step: string,
  state: Exclude<StepState, 'pending' | 'running'>,
  message: string,
  exitCode: number | null = null,
): Promise<void> {
  return emit({ type: 'step.finished', step, state, message, exitCode, ledger: null });
}

interface BadEnd {
  stepState: 'failed' | 'timed_out' | 'cancelled';
  state: Extract<RunState, 'failed' | 'timed_out' | 'errored'>;
  reason: RunReason;
  message: string;
  exitCode: number | null;
}

/** Null for a good end. */
function judge(result: StepResult, step: string, timeoutMs: number, said: string | null): BadEnd | null {
  const failed = { stepState: 'failed', state: 'failed', reason: 'step_failed', exitCode: null } as const;
  const details = said === null ? '' : `: ${said}`;
  switch (result.kind) {
    case 'exited': {
      const { exitCode } = result;
      if (exitCode === 0) return null;
      return { ...failed, exitCode, message: `${step} failed with exit code ${exitCode}${details}` };
    }
    case 'killed':
      return { ...failed, message: `${step} was killed by ${result.signal}` };
    case 'timed_out': {
      const minutes = timeoutMs / 60_000;
      const message = `${step} timed out after ${minutes} minute${minutes === 1 ? '' : 's'}`;
      return { ...failed, stepState: 'timed_out', state: 'timed_out', reason: 'step_timed_out', message };
    }
    case 'cancelled':
      return { ...failed, stepState: 'cancelled', message: 'Ended before it was done' };
    case 'not_started':
      return { ...failed, state: 'errored', reason: 'tool_missing', message: result.message };
    case 'lost':
      return { ...failed, state: 'errored', reason: 'executor_lost', message: `${step}: ${result.message}` };
  }
}

/** Finds the first error that the tool tells, for people who see one line only. */
function createErrorFinder() {
  let found: string | null = null;
  return {
    look(lines: readonly string[]): void {
      if (found !== null) return;
      for (const line of lines) {
        // biome-ignore lint/suspicious/noControlCharactersInRegex: terminal colours begin with one.
        const plain = line.replace(/\u001b\[[0-9;]*m/g, '');
        found = /\bError: (.{1,200})/.exec(plain)?.[1]?.trim() ?? null;
        if (found !== null) return;
      }
    },
    first: () => found,
  };
}
