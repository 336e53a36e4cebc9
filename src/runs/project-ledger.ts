/** The pure projection from a step's events to what the ledger says of its service. */

import type { LedgerFact, RunEventBody } from './run-events.ts';
import type { LedgerEntry } from './run-store.ts';

/** The entry after the event, or undefined when the event says nothing of a service. */
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
    // Marked before the task runs: a service whose task was cut off is not what the ledger last said.
    const attempts = next.attemptedInputs === inputs ? next.attempts + 1 : 1;
    return { ...attempted, outcome: 'started', attempts, attemptedInputs: inputs, attemptedAt: at };
  }
  if (event.state === 'succeeded') {
    const synced = { commit, tree, shared, inputs, configHash, runId, at };
    return { ...attempted, outcome: 'succeeded', synced, attempts: 0 };
  }
  // Steps that end in another way than by their task's own word.
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
