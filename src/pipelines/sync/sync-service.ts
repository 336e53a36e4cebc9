/** One step of a sync: `invoke <service>.sync` for one service, from its environment to its outcome. */

import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { Executor, StepResult } from '../../executor/executor.ts';
import type { RunReason, StepState } from '../../runs/run.ts';
import type { LedgerFact } from '../../runs/run-events.ts';
import type { PipelineContext } from '../pipeline.ts';
import type { ServiceAtCommit } from '../rules/snapshot.ts';
import { removeTaskFolder } from '../task-folder.ts';
import { readTaskResult } from './task-result.ts';

export interface SyncServiceOptions {
  executor: Pick<Executor, 'run'>;
  invokeCommand: readonly [string, ...string[]];
  /** PATH, HOME and the like. */
  plumbing: Readonly<Record<string, string>>;
  /** What TASK_ENV lets through. */
  taskEnvironment: Readonly<Record<string, string>>;
  checkout: string;
  /** Private folder for the files in which tasks say what they did. */
  tempDir: string;
  /** Replaces secrets in what a task says there; its output is masked by the executor. */
  mask(text: string): string;
  timeoutMs: number;
}

export interface ServiceToSync {
  service: ServiceAtCommit & { task: string };
  /** In place of the usual time limit, or null. */
  timeoutMs: number | null;
  ledger: LedgerFact & { configHash: string };
}

/** How a step ended. */
export interface ServiceOutcome {
  state: Extract<StepState, 'succeeded' | 'failed' | 'timed_out' | 'cancelled' | 'blocked'>;
  message: string;
  exitCode: number | null;
  /** Why we could not do our part; null when it was the task that ended so. */
  ourFailure: Extract<RunReason, 'task_runner_missing' | 'executor_lost'> | null;
}

/** Runs the task and stores how it ended, with the ledger's entry in the same transaction. */
export async function syncService(
  options: SyncServiceOptions,
  { run, signal, draining, emit }: PipelineContext<'sync'>,
  { service, ledger, timeoutMs: ownTimeoutMs }: ServiceToSync,
): Promise<ServiceOutcome> {
  const folder = path.join(options.tempDir, run.id, service.id.replaceAll('/', '_'));
  await removeTaskFolder(folder);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const resultFile = path.join(folder, 'result.json');
  const [program, ...rest] = options.invokeCommand;
  const argv = [program, ...rest, service.task] as const;
  const step = service.id;
  const timeoutMs = ownTimeoutMs ?? options.timeoutMs;
  // Durable before the task runs: what was begun is never taken for unchanged.
  await emit({ type: 'step.started', step, command: [...argv], ledger });
  try {
    const result = await options.executor.run(
      {
        argv,
        cwd: options.checkout,
        env: {
          ...options.plumbing,
          ...options.taskEnvironment,
          PYTHONPATH: options.checkout,
          PYTHONUNBUFFERED: '1',
          IAC_RUN_ID: run.id,
          IAC_SERVICE: service.id,
          IAC_COMMIT: ledger.commit,
          IAC_CONFIG_HASH: ledger.configHash,
        },
        result: { variable: 'IAC_RESULT_FILE', file: resultFile },
        timeoutMs,
        signal,
      },
      {
        onStart: ({ pid, startTicks }) => void emit({ type: 'step.process', step, pid, startTicks }),
        onLines: (stream, lines) => emit({ type: 'step.log', step, stream, lines }),
      },
    );
    const outcome = await judge(result, resultFile, timeoutMs, options.mask);
    await emit({
      type: 'step.finished',
      step,
      state: outcome.state,
      message: outcome.message,
      exitCode: outcome.exitCode,
      // What a stopping server ends is still to be done; cancelled is only what a person does not want.
      ledger: outcome.state === 'cancelled' && draining.aborted ? null : ledger,
    });
    return outcome;
  } finally {
    await removeTaskFolder(folder);
  }
}

async function judge(
  result: StepResult,
  resultFile: string,
  timeoutMs: number,
  mask: SyncServiceOptions['mask'],
): Promise<ServiceOutcome> {
  const failed = { state: 'failed', exitCode: null, ourFailure: null } as const;
  switch (result.kind) {
    case 'not_started':
      return {
        ...failed,
        message: result.message,
        ourFailure: result.code === 'ENOENT' ? 'task_runner_missing' : null,
      };
    case 'lost':
      return { ...failed, message: result.message, ourFailure: 'executor_lost' };
    case 'timed_out':
      return { ...failed, state: 'timed_out', message: `Timed out after ${timeoutMs / 1_000} s` };
    case 'cancelled':
      return { ...failed, state: 'cancelled', message: 'Ended before it was done' };
    case 'killed':
      return { ...failed, message: `Killed by ${result.signal}` };
    case 'exited':
      return judgeExit(result.exitCode, resultFile, mask);
  }
}

async function judgeExit(
  exitCode: number,
  resultFile: string,
  mask: SyncServiceOptions['mask'],
): Promise<ServiceOutcome> {
  const said = await readTaskResult(resultFile, mask);
  const details = said.kind === 'said' && said.details ? `: ${said.details}` : '';
  if (exitCode !== 0) {
    return { state: 'failed', message: `Exit code ${exitCode}${details}`, exitCode, ourFailure: null };
  }
  if (said.kind === 'said' && said.action === 'failed') {
    return { state: 'failed', message: `The task said it failed${details}`, exitCode, ourFailure: null };
  }
  const action = said.kind === 'said' ? capitalized(said.action) : 'Synced';
  const remark = said.kind === 'unreadable' ? ' (its result file could not be read)' : '';
  return { state: 'succeeded', message: `${action}${details}${remark}`, exitCode, ourFailure: null };
}

function capitalized(word: string): string {
  return word.slice(0, 1).toUpperCase() + word.slice(1);
}
