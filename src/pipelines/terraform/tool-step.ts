/** Runs one command of Terraform or OpenTofu as a step: its log, its process, and how it ended. */

import type { PlanCheck } from '../../config.ts';
import type { CapturedText } from '../../executor/captured-text.ts';
import type { Executor } from '../../executor/executor.ts';
import type { StepUser } from '../../isolation/open-folder.ts';
import { shownCommand } from '../../runs/deployments/tool-flags.ts';
import {
  type CommandEnd,
  commandEnd,
  finishStep,
  type StepContext,
  StepFailed,
  stepHooks,
  throwCancelled,
} from '../step.ts';
import type { ToolPlaces } from './install/tools.ts';

/** The settings that deployments and plans share. */
export interface ToolSettings {
  /** Holds a folder for each run. */
  directory: string;
  executor: Executor;
  /** Runs `init` only, and shares the provider cache with other runs. */
  initExecutor: Executor;
  /** Runs the steps if they may run as another user, else null. */
  stepUser: StepUser | null;
  /** The time between an interrupt, which lets the tool save its state and release its lock, and TERM. */
  interruptGraceMs: number;
  tools: ToolPlaces;
  /** The operator's PATH, proxies, certificates and language. */
  plumbing: Readonly<Record<string, string>>;
  /** The protocols by which modules may be fetched. */
  gitProtocols: readonly string[];
  registryUrl: string | null;
  providerMirrorDir: string | null;
  /** The operator's commands that check each plan. */
  checks: readonly PlanCheck[];
  approvalTimeoutMs: number;
  now(): number;
}

/** The tool as it is called for one run. */
export interface PreparedTool extends Pick<ToolSettings, 'executor' | 'initExecutor' | 'interruptGraceMs'> {
  program: string;
  /** The root module's folder. */
  cwd: string;
  env: Record<string, string>;
  /** Masked in every log, and in plans and outputs when people see them. */
  secrets: readonly string[];
  /**
   * The values of variables that the request gave. They are masked in logs only, because a plan that needs an approval
   * and outputs that others use must contain them.
   */
  given: readonly string[];
  timeoutMs: number;
}

interface ToolCall {
  step: string;
  argv: readonly string[];
  /** Shown after `argv`, but passed in the environment, because everybody may read the arguments of a process. */
  flags?: readonly string[];
  /** Our own remarks, logged before the tool's output. */
  prefaceLines?: readonly string[];
  /** False leaves the step open, so that the caller can add to it. */
  finish?: boolean;
  executor?: Executor;
}

/** Throws StepFailed unless the tool exits with 0, and the signal's reason if the signal ended it. */
export async function runToolStep(
  tool: PreparedTool,
  context: StepContext,
  { step, argv, flags = [], prefaceLines = [], finish = true, executor = tool.executor }: ToolCall,
): Promise<void> {
  context.draining.throwIfAborted();
  const command = [tool.program, ...argv] as const;
  await context.emit({
    type: 'step.started',
    step,
    command: shownCommand([...command, ...flags]),
    ledger: null,
  });
  const { onStart, onLines } = stepHooks(context, step);
  if (prefaceLines.length > 0) await onLines('stderr', [...prefaceLines]);
  let firstError: string | null = null;
  const result = await executor.run(
    {
      argv: command,
      cwd: tool.cwd,
      env: { ...tool.env, ...flagVariable(argv[0], flags) },
      timeoutMs: tool.timeoutMs,
      interruptGraceMs: tool.interruptGraceMs,
      secrets: [...tool.secrets, ...tool.given],
      signal: context.signal,
    },
    {
      onStart,
      onLines(stream, lines) {
        firstError ??= findError(lines);
        return onLines(stream, lines);
      },
    },
  );
  const end = commandEnd(result, tool.timeoutMs);
  if (end.state === 'cancelled') return throwCancelled(context, step);
  if (end.state !== 'succeeded') return failStep(context, step, end, firstError);
  if (finish) await finishStep(context, step, { state: 'succeeded', message: 'Done', exitCode: 0 });
}

async function failStep(
  context: StepContext,
  step: string,
  { state, exitCode, ourFailure, words }: CommandEnd,
  firstError: string | null,
): Promise<never> {
  const details = exitCode === null || firstError === null ? '' : `: ${firstError}`;
  const failed = {
    not_started: { state: 'errored', reason: 'tool_missing', message: words },
    lost: { state: 'errored', reason: 'executor_lost', message: `${step}: ${words}` },
    timed_out: { state: 'timed_out', reason: 'step_timed_out', message: `${step} ${words}` },
    failed: { state: 'failed', reason: 'step_failed', message: `${step} ${words}${details}` },
  } as const;
  const stepState = state === 'timed_out' ? state : 'failed';
  const outcome = failed[ourFailure ?? stepState];
  await finishStep(context, step, { state: stepState, message: outcome.message, exitCode });
  throw new StepFailed(outcome);
}

/** Both tools put these before their own arguments: https://developer.hashicorp.com/terraform/cli/config/environment-variables */
function flagVariable(command: string | undefined, flags: readonly string[]): Record<string, string> {
  if (command === undefined || flags.length === 0) return {};
  const quoted = flags.map((flag) => `'${flag.replaceAll("'", String.raw`'\''`)}'`);
  return { [`TF_CLI_ARGS_${command}`]: quoted.join(' ') };
}

/** The stdout of a command that writes no log. Throws StepFailed unless it exits with 0. */
export async function captureTool(
  tool: PreparedTool,
  context: StepContext,
  { step, argv }: { step: string; argv: readonly string[] },
): Promise<CapturedText> {
  const { executor, program, cwd, env, timeoutMs, secrets } = tool;
  const { signal } = context;
  const result = await executor.capture({
    argv: [program, ...argv],
    cwd,
    env,
    timeoutMs,
    secrets,
    signal,
  });
  if (result.kind === 'exited' && result.exitCode === 0) return result.stdout;
  signal.throwIfAborted();
  const problem = result.kind === 'exited' ? `ended with exit code ${result.exitCode}` : result.problem;
  return stopStep(context, step, `${step}: ${argv[0]} ${problem}`);
}

/** Finishes the step as failed, and throws StepFailed. */
export async function stopStep(context: StepContext, step: string, message: string): Promise<never> {
  await finishStep(context, step, { state: 'failed', message });
  throw new StepFailed({ state: 'failed', reason: 'step_failed', message });
}

/** The first error that the tool reports, for people who see one line only. */
function findError(lines: readonly string[]): string | null {
  for (const line of lines) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: terminal colours start with one.
    const plain = line.replace(/\u001b\[[0-9;]*m/g, '');
    const error = /\bError: (.{1,200})/.exec(plain)?.[1]?.trim();
    if (error !== undefined) return error;
  }
  return null;
}
