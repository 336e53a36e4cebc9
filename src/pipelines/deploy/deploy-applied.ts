/** The end of a deployment that was applied. It has succeeded, even if its outputs cannot be read. */

import { CancelRequested, describeError, StaleLeaseError, StoreUnavailableError } from '../../errors.ts';
import type { DeployOutput } from '../../runs/deployments/deployment.ts';
import type { Ended, PipelineContext } from '../pipeline.ts';
import { endsOfOpenSteps, plannedStep } from '../step.ts';
import { summaryWords } from '../terraform/plan-summary.ts';
import type { Attempt } from './attempt.ts';

type ReadOutputs = () => Promise<Record<string, DeployOutput>>;

/** Throws only if another attempt should read the outputs: the server is ending, or the store is away. */
export async function endApplied(attempt: Attempt, read: ReadOutputs): Promise<Ended> {
  const { options, context } = attempt;
  const { run, emit } = context;
  const output = (await options.steps(run.id)).find(({ id }) => id === 'output');
  // An earlier attempt was cut off while it read them.
  if (output && output.state !== 'pending') {
    await emit(plannedStep('output', output.position, 'To be read again'));
  }
  const summary = (await options.latestPlan(run.id))?.summary ?? null;
  const unread = await sendOutputs(attempt, read);
  const verb = run.input.operation === 'destroy' ? 'Destroyed' : 'Applied';
  const words = `${verb}: ${summaryWords(summary)}`;
  return { state: 'succeeded', reason: null, message: unread === null ? words : `${words}; ${unread}` };
}

/** Returns why the outputs could not be read, or null. That is a remark and not a failure, because the apply is done. */
async function sendOutputs({ options, context }: Attempt, read: ReadOutputs): Promise<string | null> {
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

function isToBeTriedAgain(error: unknown, { signal, draining }: PipelineContext<'deploy'>): boolean {
  const isAway = error instanceof StoreUnavailableError || error instanceof StaleLeaseError;
  return isAway || signal.aborted || draining.aborted;
}
