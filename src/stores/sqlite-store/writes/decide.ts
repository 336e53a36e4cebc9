/** What people decide about a run: to cancel it, to approve or reject what it waits for. */

import { isFinal, type Run } from '../../../runs/run.ts';
import { cancelRequested, decisionEvents } from '../../../runs/run-decisions.ts';
import type { ApprovalDecision } from '../../../runs/run-events.ts';
import { appendEvents } from '../append-events.ts';
import type { Database } from '../database.ts';
import type { StoredRun } from '../rows.ts';
import { findRun, openSteps } from './stored-runs.ts';
import type { Written } from './written.ts';

export function requestCancel(database: Database, runId: string, by: string): Written<Run | null> {
  const stored = findRun(database, runId);
  if (!stored) return { result: null, changed: [] };
  if (isFinal(stored.run.state)) return { result: stored.run, changed: [] };
  const events = cancelRequested(stored.run, openSteps(database, stored), by);
  if (events.length === 0) return { result: stored.run, changed: [] };
  const run = appendEvents(database, stored, events, Date.now());
  return { result: run, changed: [runId] };
}

export function decide(
  database: Database,
  runId: string,
  decision: ApprovalDecision,
  by: string,
): Written<{ run: Run; decided: boolean } | null> {
  const stored = findRun(database, runId);
  if (!stored) return { result: null, changed: [] };
  const awaited = latestAwaited(database, stored);
  if (stored.run.state !== 'awaiting_approval' || awaited === null) {
    return { result: { run: stored.run, decided: false }, changed: [] };
  }
  const events = decisionEvents(awaited, openSteps(database, stored), { decision, by });
  const run = appendEvents(database, stored, events, Date.now());
  return { result: { run, decided: true }, changed: [runId] };
}

/** What the approval is bound to: the decision keeps it, so that what is done later can be held against it. */
function latestAwaited(database: Database, { number }: StoredRun): string | null {
  const row = database.get(
    `SELECT data ->> 'subject' AS subject FROM events
      WHERE run = ? AND type = 'run.awaiting_approval' AND type <> 'step.log' ORDER BY seq DESC LIMIT 1`,
    number,
  );
  return row ? String(row.subject) : null;
}
