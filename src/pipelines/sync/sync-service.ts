/** One step of a sync: runs the task of one service, for example `invoke <service>.sync`. */

import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { StepResult } from '../../executor/executor.ts';
import type { Mirror } from '../../git/own/mirror.ts';
import type { Workspace } from '../../git/own/workspace.ts';
import { createRedactor } from '../../process/output/redact.ts';
import type { Step, StepState, SyncRun } from '../../runs/run.ts';
import type { RunReason } from '../../runs/run-reasons.ts';
import type { Ledger } from '../../runs/run-store.ts';
import type { Hold } from '../../runs/sync/hold.ts';
import { capitalized } from '../../runs/texts/capitalized.ts';
import type { SyncWindow } from '../../sync-window.ts';
import type { Outcome, PipelineContext } from '../pipeline.ts';
import { digest } from '../rules/snapshot.ts';
import type { Selected } from '../selection/select-services.ts';
import { commandEnd } from '../step.ts';
import { removeTaskFolder } from '../task-folder.ts';
import type { OutsideOptions } from './outside.ts';
import { type CommandOptions, createServiceCommands, type ServiceToSync } from './service-commands.ts';
import { readTaskResult, type TaskResult } from './task-result.ts';

/** The options of one step. */
interface TaskOptions extends CommandOptions {
  /** A private folder for the result files of tasks. */
  tempDir: string;
  /** Masks secrets in result files. The executor masks the output of tasks. */
  mask(text: string): string;
  timeoutMs: number;
}

export interface SyncOptions extends TaskOptions {
  mirror: Mirror;
  workspace: Workspace;
  /** The lock beside the workspace. */
  lockPath: string;
  /** How long to wait while somebody else holds the workspace. */
  lockWaitMs: number;
  concurrency: number;
  /** Refuses unsigned commits, whatever the repository says. */
  requireSignature: boolean;
  /** Another place where config hashes are stored, or null. */
  outside: OutsideOptions | null;
  /** The environment that is synced; null for the unnamed one. */
  environment: string | null;
  /** If there are any, they replace the windows of the rules file. */
  windows: readonly SyncWindow[];
  /** The variables that tasks get by TASK_ENV and of the environment. They are part of the config hash. */
  taskEnvironment: Readonly<Record<string, string>>;
  /** Reads the secrets of the environment, which tasks get besides. Throws SecretMissingError. */
  readSecrets(): Readonly<Record<string, string>>;
  ledger(scope: string): Promise<Ledger>;
  /** The holds that stand. */
  holds(): Promise<readonly Hold[]>;
  steps(runId: string): Promise<Step[]>;
  /** Returns the outcome of a run that the rules of the environment forbid; null for any other. */
  refuse(run: SyncRun, found: { selected: readonly Selected[]; ledger: Ledger }): Promise<Outcome | null>;
  now(): number;
}

/** How a step ended. */
export interface ServiceOutcome {
  state: Extract<StepState, 'succeeded' | 'failed' | 'timed_out' | 'cancelled' | 'blocked'>;
  message: string;
  exitCode: number | null;
  /** Why iac-runner could not do its part, or null if the task itself ended like this. */
  ourFailure: Extract<RunReason, 'task_runner_missing' | 'executor_lost'> | null;
}

/** Runs the task and the check of the service, and stores the end of the step together with the ledger's entry. */
export async function syncService(
  options: TaskOptions,
  context: PipelineContext<'sync'>,
  toSync: ServiceToSync,
): Promise<ServiceOutcome> {
  const { run, draining, emit } = context;
  const { service, ledger } = toSync;
  const step = service.id;
  // An id may be longer than the name of a folder, and only differ from another one by a slash.
  const folder = path.join(options.tempDir, run.id, digest([step]));
  await removeTaskFolder(folder);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const resultFile = path.join(folder, 'result.json');
  const timeoutMs = toSync.timeoutMs ?? options.timeoutMs;
  try {
    const commands = createServiceCommands(options, context, toSync, timeoutMs);
    const result = await commands.task(resultFile);
    const said: TaskResult =
      result.kind === 'exited'
        ? await readTaskResult(resultFile, maskOf(options, toSync))
        : { kind: 'nothing' };
    const synced = serviceOutcome(result, toSync, timeoutMs, said);
    const checked = synced.state === 'succeeded' ? await commands.verify() : null;
    const outcome = checked === null ? synced : verifiedOutcome(synced, checked, timeoutMs);
    const { state, message, exitCode } = outcome;
    // Only a person's cancel ends the work on a service. A task that a stopping server ended has to run again.
    const isPutOff = state === 'cancelled' && draining.aborted;
    await emit({
      type: 'step.finished',
      step,
      state,
      message,
      exitCode,
      ledger: isPutOff ? null : ledger,
    });
    return outcome;
  } finally {
    await removeTaskFolder(folder);
  }
}

/** Masks the secrets of the service as well, which may be newer than the program. */
function maskOf({ mask }: TaskOptions, { secrets }: ServiceToSync): (text: string) => string {
  const own = createRedactor(secrets);
  return (text) => own(mask(text));
}

function serviceOutcome(
  result: StepResult,
  { service: { rule } }: ServiceToSync,
  timeoutMs: number,
  said: TaskResult,
): ServiceOutcome {
  const { state, message, exitCode, ourFailure } = commandEnd(result, timeoutMs);
  if (exitCode !== null) return exitOutcome(exitCode, said);
  // The repository itself names the program of `run` and the folder, so another commit can correct them.
  const isOwn = rule.run !== undefined || rule.cwd !== undefined;
  const isMissing = result.kind === 'not_started' && result.code === 'ENOENT' && !isOwn;
  const lost = ourFailure === 'lost' ? 'executor_lost' : null;
  return { state, message, exitCode, ourFailure: isMissing ? 'task_runner_missing' : lost };
}

function exitOutcome(exitCode: number, said: TaskResult): ServiceOutcome {
  const end = { exitCode, ourFailure: null };
  const details = said.kind === 'said' && said.details ? `: ${said.details}` : '';
  if (exitCode !== 0) return { ...end, state: 'failed', message: `Exit code ${exitCode}${details}` };
  if (said.kind === 'said' && said.action === 'failed') {
    return { ...end, state: 'failed', message: `The task said it failed${details}` };
  }
  const action = said.kind === 'said' ? capitalized(said.action) : 'Synced';
  const remark = said.kind === 'unreadable' ? ' (its result file could not be read)' : '';
  return { ...end, state: 'succeeded', message: `${action}${details}${remark}` };
}

/** The outcome of a service whose task succeeded, after its check. */
function verifiedOutcome(synced: ServiceOutcome, result: StepResult, timeoutMs: number): ServiceOutcome {
  const { state, exitCode, ourFailure, words } = commandEnd(result, timeoutMs);
  if (state === 'succeeded') return { ...synced, message: `${synced.message}, verified` };
  const reason = ourFailure === 'lost' ? 'executor_lost' : null;
  return {
    state,
    exitCode,
    ourFailure: reason,
    message: `Synced, but its check ${checkWords(result, words)}`,
  };
}

/** A message about a program that did not start is a sentence of its own. */
function checkWords(result: StepResult, words: string): string {
  return result.kind === 'not_started' || result.kind === 'lost' ? `did not run: ${words}` : words;
}
