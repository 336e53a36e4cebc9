/** One step of a sync: runs the task of one service, for example `invoke <service>.sync`. */

import { constants } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { errorCode } from '../../errors.ts';
import type { Executor, StepResult } from '../../executor/executor.ts';
import type { Mirror } from '../../git/own/mirror.ts';
import type { Workspace } from '../../git/own/workspace.ts';
import type { Hold } from '../../runs/hold.ts';
import type { Step, StepState } from '../../runs/run.ts';
import type { LedgerFact } from '../../runs/run-events.ts';
import type { RunReason } from '../../runs/run-reasons.ts';
import type { Ledger } from '../../runs/run-store.ts';
import { capitalized } from '../../runs/texts/capitalized.ts';
import { KIBIBYTE } from '../../units.ts';
import type { PipelineContext } from '../pipeline.ts';
import type { ServiceAtCommit } from '../rules/snapshot.ts';
import { commandEnd, stepHooks } from '../step.ts';
import { removeTaskFolder } from '../task-folder.ts';
import type { OutsideOptions } from './outside.ts';

/** The options of one step. */
interface TaskOptions {
  executor: Pick<Executor, 'run'>;
  invokeCommand: readonly [string, ...string[]];
  workspace: Pick<Workspace, 'directory'>;
  /** PATH, HOME and the like. */
  plumbing: Readonly<Record<string, string>>;
  /** The variables that TASK_ENV lets through. */
  taskEnvironment: Readonly<Record<string, string>>;
  /** A private folder for the result files of tasks. */
  tempDir: string;
  /** Masks secrets in result files. The executor masks the output of tasks. */
  mask(text: string): string;
  timeoutMs: number;
}

export interface SyncOptions extends TaskOptions {
  mirror: Mirror;
  workspace: Workspace;
  workspaceDir: string;
  /** How long to wait while somebody else holds the workspace. */
  lockWaitMs: number;
  concurrency: number;
  /** Refuses unsigned commits, whatever the repository says. */
  requireSignature: boolean;
  /** Another place where config hashes are stored, or null. */
  outside: OutsideOptions | null;
  ledger(scope: string): Promise<Ledger>;
  /** The holds that stand. */
  holds(): Promise<readonly Hold[]>;
  steps(runId: string): Promise<Step[]>;
  now(): number;
}

export interface ServiceToSync {
  service: ServiceAtCommit & { task: string };
  /** Replaces the usual time limit, unless it is null. */
  timeoutMs: number | null;
  ledger: LedgerFact & { configHash: string };
}

/** How a step ended. */
export interface ServiceOutcome {
  state: Extract<StepState, 'succeeded' | 'failed' | 'timed_out' | 'cancelled' | 'blocked'>;
  message: string;
  exitCode: number | null;
  /** Why iac-runner could not do its part, or null if the task itself ended like this. */
  ourFailure: Extract<RunReason, 'task_runner_missing' | 'executor_lost'> | null;
}

/** Runs the task, and stores the end of the step together with the ledger's entry. */
export async function syncService(
  options: TaskOptions,
  context: PipelineContext<'sync'>,
  toSync: ServiceToSync,
): Promise<ServiceOutcome> {
  const { run, draining, emit } = context;
  const { service, ledger } = toSync;
  const step = service.id;
  const folder = path.join(options.tempDir, run.id, step.replaceAll('/', '_'));
  await removeTaskFolder(folder);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const resultFile = path.join(folder, 'result.json');
  const timeoutMs = toSync.timeoutMs ?? options.timeoutMs;
  try {
    const result = await runTask(options, context, toSync, { resultFile, timeoutMs });
    const said: TaskResult =
      result.kind === 'exited' ? await readTaskResult(resultFile, options.mask) : { kind: 'nothing' };
    const outcome = serviceOutcome(result, timeoutMs, said);
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

async function runTask(
  { executor, invokeCommand, workspace, plumbing, taskEnvironment }: TaskOptions,
  context: PipelineContext<'sync'>,
  { service, ledger }: ServiceToSync,
  { resultFile, timeoutMs }: { resultFile: string; timeoutMs: number },
): Promise<StepResult> {
  const [program, ...args] = invokeCommand;
  const argv = [program, ...args, service.task] as const;
  const { directory } = workspace;
  // Stored before the task runs, so that a service whose task was started never counts as unchanged.
  await context.emit({ type: 'step.started', step: service.id, command: [...argv], ledger });
  return executor.run(
    {
      argv,
      cwd: directory,
      env: {
        ...plumbing,
        ...taskEnvironment,
        PYTHONPATH: directory,
        PYTHONUNBUFFERED: '1',
        IAC_RUN_ID: context.run.id,
        IAC_SERVICE: service.id,
        IAC_COMMIT: ledger.commit,
        IAC_CONFIG_HASH: ledger.configHash,
      },
      result: { variable: 'IAC_RESULT_FILE', file: resultFile },
      timeoutMs,
      signal: context.signal,
    },
    stepHooks(context, service.id),
  );
}

function serviceOutcome(result: StepResult, timeoutMs: number, said: TaskResult): ServiceOutcome {
  const { state, message, exitCode, ourFailure } = commandEnd(result, timeoutMs);
  if (exitCode !== null) return exitOutcome(exitCode, said);
  const isMissing = result.kind === 'not_started' && result.code === 'ENOENT';
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

const MAX_RESULT_BYTES = 64 * KIBIBYTE;
const MAX_DETAILS_CHARACTERS = 500;

const resultSchema = z.object({
  action: z.enum(['created', 'updated', 'skipped', 'failed']),
  details: z.string().optional(),
});

type TaskResult =
  | { kind: 'said'; action: z.output<typeof resultSchema>['action']; details: string }
  | { kind: 'nothing' }
  | { kind: 'unreadable' };

/**
 * Reads the file in which a task may say what it did (IAC_RESULT_FILE). Never throws, and does not follow links. Masks
 * the details before it cuts them, so that no part of a secret stays at the cut.
 */
async function readTaskResult(file: string, mask: (text: string) => string): Promise<TaskResult> {
  try {
    const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const buffer = Buffer.alloc(MAX_RESULT_BYTES + 1);
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
      if (bytesRead === 0) return { kind: 'nothing' };
      if (bytesRead > MAX_RESULT_BYTES) return { kind: 'unreadable' };
      const { action, details = '' } = resultSchema.parse(JSON.parse(buffer.toString('utf8', 0, bytesRead)));
      return { kind: 'said', action, details: mask(details).slice(0, MAX_DETAILS_CHARACTERS) };
    } finally {
      await handle.close();
    }
  } catch (error) {
    return { kind: errorCode(error) === 'ENOENT' ? 'nothing' : 'unreadable' };
  }
}
