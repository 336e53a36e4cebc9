/** The end of a deployment that was applied: it has succeeded, whatever becomes of its outputs. */

import { CancelRequested, describeError, StaleLeaseError, StoreUnavailableError } from '../../errors.ts';
import type { DeployOutput } from '../../runs/deployments/deployment.ts';
import type { Step } from '../../runs/run.ts';
import type { RunEvent } from '../../runs/run-events.ts';
import type { Ended, PipelineContext } from '../pipeline.ts';
import { plannedStep } from '../sync/planned-steps.ts';
import { endsOfOpenSteps } from '../sync/sync-outcome.ts';
import { summaryWords } from '../terraform/plan-summary.ts';

export interface AppliedOptions {
  steps(runId: string): Promise<Step[]>;
  latestPlan(runId: string): Promise<Extract<RunEvent, { type: 'run.planned' }> | null>;
}

type Context = PipelineContext<'deploy'>;
type ReadOutputs = () => Promise<Record<string, DeployOutput>>;

/** Throws only what lets another attempt read the outputs: the server is ending, or the store is away. */
export async function endApplied(
  options: AppliedOptions,
  context: Context,
  read: ReadOutputs,
): Promise<Ended> {
  const { run, emit } = context;
  const output = (await options.steps(run.id)).find(({ id }) => id === 'output');
  // An attempt before this one was cut off while it read them.
  if (output && output.state !== 'pending') {
    await emit(plannedStep('output', output.position, 'To be read again'));
  }
  const summary = (await options.latestPlan(run.id))?.summary ?? null;
  const unread = await tellOutputs(options, context, read);
  const verb = run.input.operation === 'destroy' ? 'Destroyed' : 'Applied';
  const words = `${verb}: ${summaryWords(summary)}`;
  return { state: 'succeeded', reason: null, message: unread === null ? words : `${words}; ${unread}` };
}

/** What was applied stays applied, so a problem with the outputs is a remark and no failure. Returns it, or null. */
async function tellOutputs(
  options: AppliedOptions,
  context: Context,
  read: ReadOutputs,
): Promise<string | null> {
  const { run, signal, emit } = context;
  try {
    await emit({ type: 'run.outputs', outputs: await read() });
    return null;
  } catch (error) {
    const isCancelled = signal.aborted && signal.reason instanceof CancelRequested;
    if (!isCancelled && isToBeTriedAgain(error, context)) throw error;
    const message = isCancelled
      ? 'The outputs were not read, as the run was cancelled after the apply'
      : `The outputs could not be read: ${describeError(error)}`;
    await emit(...endsOfOpenSteps(await options.steps(run.id)), {
      type: 'run.notice',
      level: 'warning',
      message,
    });
    return isCancelled
      ? 'the outputs were not read, as the run was cancelled'
      : 'the outputs could not be read';
  }
}

function isToBeTriedAgain(error: unknown, { signal, draining }: Context): boolean {
  const isAway = error instanceof StoreUnavailableError || error instanceof StaleLeaseError;
  return isAway || signal.aborted || draining.aborted;
}
