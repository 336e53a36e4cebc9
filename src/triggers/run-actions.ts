/** What people do to a run from its page or by the API: retry what failed, cancel. */

import { enqueuePlan, enqueuePreview, enqueueSync } from '../runs/enqueue.ts';
import { endedBadly, isFinal, type Run, type Selection, type Step } from '../runs/run.ts';
import type { RunStore } from '../runs/run-store.ts';
import { retryOf as repeated } from '../runs/sync-intent.ts';

export type ActionResult = { status: 'accepted'; run: Run } | { status: 'refused'; reason: string };

const NO_SUCH_RUN: ActionResult = { status: 'refused', reason: 'There is no such run.' };

/** Steps that a retry runs again. */
const TO_RETRY: ReadonlySet<Step['state']> = new Set([
  'failed',
  'timed_out',
  'cancelled',
  'blocked',
  'pending',
]);

/** Runs again what did not succeed, at the same commit. */
export async function retryRun(store: RunStore, runId: string, actor: string): Promise<ActionResult> {
  const run = await store.run(runId);
  if (!run) return NO_SUCH_RUN;
  if (!endedBadly(run.state)) {
    const reason = isFinal(run.state)
      ? `There is nothing to retry: the run ${run.state}.`
      : 'The run has not ended yet.';
    return { status: 'refused', reason };
  }
  if (run.kind === 'plan' && run.input.credential === 'configured') {
    const { run: retry } = await enqueuePlan(store, {
      trigger: { source: 'retry', actor, retryOf: run.id },
      input: run.input,
    });
    return { status: 'accepted', run: retry };
  }
  if (run.kind === 'command') {
    return { status: 'refused', reason: 'A command is not retried: write a new comment.' };
  }
  if (run.kind === 'deploy' || run.kind === 'plan') {
    // Its credentials were thrown away with its end.
    return { status: 'refused', reason: 'A run of this kind is not retried: ask for a new one.' };
  }
  if (run.kind === 'preview') {
    const { run: retry } = await enqueuePreview(store, {
      trigger: { source: 'retry', actor, retryOf: run.id },
      input: run.input,
    });
    return { status: 'accepted', run: retry };
  }
  const failed = (await store.steps(runId)).filter(({ state }) => TO_RETRY.has(state)).map(({ id }) => id);
  // A run that ended before it chose is asked the same question again.
  const selection: Selection =
    failed.length > 0 ? { mode: 'services', services: failed } : run.input.selection;
  const { run: retry } = await enqueueSync(store, {
    trigger: { source: 'retry', actor, retryOf: run.id },
    input: { ...run.input, ...repeated(run), selection, announced: failed },
  });
  return { status: 'accepted', run: retry };
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
