/** Writes the decisions of people about a run: to cancel, approve or reject it. */

import { isFinal, type Run } from '../../../runs/run.ts';
import { cancelRequested, decisionEvents } from '../../../runs/run-decisions.ts';
import type { ApprovalDecision } from '../../../runs/run-events.ts';
import { appendEvents } from '../append-events.ts';
import type { Transaction, Written } from '../database.ts';
import { readLatestEvent } from '../reads.ts';
import { findRun, openSteps } from './stored-runs.ts';

export async function requestCancel(
  transaction: Transaction,
  runId: string,
  by: string,
): Promise<Written<Run | null>> {
  const stored = await findRun(transaction, runId);
  if (!stored) return { result: null, changed: [] };
  if (isFinal(stored.run.state)) return { result: stored.run, changed: [] };
  const events = cancelRequested(stored.run, await openSteps(transaction, stored), by);
  if (events.length === 0) return { result: stored.run, changed: [] };
  return { result: await appendEvents(transaction, stored, events), changed: [runId] };
}

export async function decide(
  transaction: Transaction,
  runId: string,
  decision: ApprovalDecision,
  by: string,
): Promise<Written<{ run: Run; decided: boolean } | null>> {
  const stored = await findRun(transaction, runId);
  if (!stored) return { result: null, changed: [] };
  // The event keeps the subject of the decision, so that a later step can be compared with it.
  const awaited = await readLatestEvent(transaction, runId, 'run.awaiting_approval');
  if (stored.run.state !== 'awaiting_approval' || awaited?.type !== 'run.awaiting_approval') {
    return { result: { run: stored.run, decided: false }, changed: [] };
  }
  const events = decisionEvents(awaited.subject, await openSteps(transaction, stored), { decision, by });
  const run = await appendEvents(transaction, stored, events);
  return { result: { run, decided: true }, changed: [runId] };
}
