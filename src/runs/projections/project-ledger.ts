/** Projects the ledger entry of a service from the events of its step. Pure. */

import type { LedgerFact, RunEventBody } from '../run-events.ts';
import type { LedgerEntry } from '../run-store.ts';

/** Returns the entry after the event, or undefined if the event says nothing about a service. */
export function projectLedger(
  entry: LedgerEntry | undefined,
  event: RunEventBody,
  { runId, at }: { runId: string; at: number },
): LedgerEntry | undefined {
  if ((event.type !== 'step.started' && event.type !== 'step.finished') || !event.ledger) return undefined;
  const { ledger: fact } = event;
  const { commit, tree, shared, inputs, configHash } = fact;
  const next = { ...(entry ?? neverTried(fact)), folder: fact.folder };
  const attempted = { ...next, attemptedCommit: commit, attemptedRunId: runId };
  if (event.type === 'step.started') {
    // The entry changes before the task runs, because a task that is cut off may have changed the service.
    const attempts = next.attemptedInputs === inputs ? next.attempts + 1 : 1;
    return { ...attempted, outcome: 'started', attempts, attemptedInputs: inputs, attemptedAt: at };
  }
  if (event.state === 'succeeded') {
    const synced = { commit, tree, shared, inputs, configHash, runId, at };
    return { ...attempted, outcome: 'succeeded', synced, attempts: 0 };
  }
  // These steps did not end by the result of their task.
  const { state } = event;
  return { ...attempted, outcome: state === 'removed' || state === 'cancelled' ? state : 'failed' };
}

function neverTried({ service, folder, commit }: LedgerFact): LedgerEntry {
  return {
    service,
    folder,
    synced: null,
    attemptedCommit: commit,
    attemptedRunId: '',
    outcome: 'started',
    attempts: 0,
    attemptedInputs: '',
    attemptedAt: 0,
  };
}
