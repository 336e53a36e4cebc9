/** The actions on a run, from its page or by the API: retry what failed, cancel. */

import { RequestError } from '../errors.ts';
import { enqueueRun } from '../runs/enqueue.ts';
import { kindOf } from '../runs/kinds/kinds.ts';
import { endedBadly, isFinal, type Run, type Step } from '../runs/run.ts';
import type { RunStore } from '../runs/run-store.ts';

export type ActionResult = { status: 'accepted'; run: Run } | { status: 'refused'; reason: string };

const NO_SUCH_RUN: ActionResult = { status: 'refused', reason: 'There is no such run.' };

/** Steps that a retry runs again. */
const TO_RETRY: Step['state'][] = ['failed', 'timed_out', 'cancelled', 'blocked', 'pending'];

/** Returns whether a retry would be accepted, for the button on the page of the run. */
export function mayRetry(run: Run): boolean {
  return endedBadly(run.state) && typeof kindOf(run).retry(run, []) !== 'string';
}

export interface RetryOptions {
  store: Pick<RunStore, 'run' | 'steps' | 'enqueue'>;
  /**
   * Asks again for services in an environment that promotes, which may need another approval. Resolves to null for a run
   * of any other place.
   */
  promoteAgain(run: Run, failed: readonly string[], actor: string): Promise<Run | null>;
}

/** Makes a run that repeats the steps that did not succeed, at the same commit. */
export async function retryRun(
  { store, promoteAgain }: RetryOptions,
  runId: string,
  actor: string,
): Promise<ActionResult> {
  const run = await store.run(runId);
  if (!run) return NO_SUCH_RUN;
  if (!endedBadly(run.state)) {
    const reason = isFinal(run.state)
      ? `There is nothing to retry: the run ended as ${run.state}.`
      : 'The run has not ended yet.';
    return { status: 'refused', reason };
  }
  const failed = (await store.steps(runId))
    .filter(({ state }) => TO_RETRY.includes(state))
    .map(({ id }) => id);
  const again = await askedAgain(() => promoteAgain(run, failed, actor));
  if (again !== null) return again;
  const input = kindOf(run).retry(run, failed);
  if (typeof input === 'string') return { status: 'refused', reason: input };
  const trigger = { source: 'retry', actor, retryOf: run.id } as const;
  const { run: retry } = await enqueueRun(store, run.kind, { trigger, input });
  return { status: 'accepted', run: retry };
}

/** Resolves to null if nothing was asked. */
async function askedAgain(again: () => Promise<Run | null>): Promise<ActionResult | null> {
  try {
    const run = await again();
    return run && { status: 'accepted', run };
  } catch (error) {
    if (error instanceof RequestError && error.status < 500)
      return { status: 'refused', reason: error.message };
    throw error;
  }
}

/** Ends a queued run at once and asks a running one to end. */
export async function cancelRun(store: RunStore, runId: string, actor: string): Promise<ActionResult> {
  const before = await store.run(runId);
  if (!before) return NO_SUCH_RUN;
  if (isFinal(before.state))
    return { status: 'refused', reason: `The run has already ended: ${before.state}.` };
  const run = await store.requestCancel(runId, actor);
  return run ? { status: 'accepted', run } : NO_SUCH_RUN;
}
