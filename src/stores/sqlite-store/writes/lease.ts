/** What only the holder of a lease may write, and the end of leases. */

import { StaleLeaseError } from '../../../errors.ts';
import type { RunRequest } from '../../../runs/run.ts';
import { areLast, completed, takenBack } from '../../../runs/run-decisions.ts';
import type { RunEventBody } from '../../../runs/run-events.ts';
import type { Lease, RunStore } from '../../../runs/run-store.ts';
import { appendEvents } from '../append-events.ts';
import type { Database } from '../database.ts';
import { RUN_COLUMNS, toStoredRun } from '../rows.ts';
import { enqueue } from './enqueue.ts';
import { openSteps, saveBeside, uncover } from './stored-runs.ts';
import type { Written } from './written.ts';

export function renew(database: Database, lease: Lease, leaseMs: number): Written<null> {
  const changed = database.run(
    `UPDATE runs SET lease_expires_at = ?
      WHERE id = ? AND lease_token = ? AND state = 'running'`,
    Date.now() + leaseMs,
    lease.runId,
    lease.token,
  );
  if (changed === 0) throw new StaleLeaseError(lease.runId);
  return { result: null, changed: [] };
}

export function append(
  database: Database,
  lease: Lease,
  events: RunEventBody[],
  followUp?: RunRequest,
  keptPlan?: string,
): Written<null> {
  const row = database.get(
    `SELECT ${RUN_COLUMNS} FROM runs
      WHERE id = ? AND lease_token = ? AND state = 'running'`,
    lease.runId,
    lease.token,
  );
  if (!row) throw new StaleLeaseError(lease.runId);
  const changed = [lease.runId];
  const stored = toStoredRun(row);
  let toAppend = areLast(events) ? completed(stored.run, events, openSteps(database, stored)) : events;
  if (followUp) {
    const { run } = enqueue(database, followUp).result;
    changed.push(run.id);
    toAppend = toAppend.map((event) =>
      event.type === 'run.finished' ? { ...event, coveredBy: run.id } : event,
    );
  }
  if (keptPlan !== undefined) saveBeside(database, 'kept_plans', lease.runId, keptPlan);
  appendEvents(database, stored, toAppend, Date.now());
  changed.push(...uncover(database, toAppend));
  return { result: null, changed };
}

export function takeBack(
  database: Database,
  { all, owner = '', runs, maxAttempts }: Parameters<RunStore['takeBack']>[0],
): Written<string[]> {
  const orphans = database
    .all(
      `SELECT ${RUN_COLUMNS} FROM runs
        WHERE state = 'running' AND (? = 1 OR lease_expires_at < ? OR lease_owner = ?
            OR substr(lease_owner, 1, length(?) + 1) = ? || ':')
          AND (? IS NULL OR id IN (SELECT value FROM json_each(?)))
        ORDER BY number`,
      all ? 1 : 0,
      Date.now(),
      owner,
      owner,
      owner,
      runs ? JSON.stringify(runs) : null,
      runs ? JSON.stringify(runs) : null,
    )
    .map(toStoredRun);
  for (const orphan of orphans) {
    const events = takenBack(orphan.run, openSteps(database, orphan), maxAttempts);
    appendEvents(database, orphan, events, Date.now());
  }
  const ids = orphans.map((orphan) => orphan.run.id);
  return { result: ids, changed: ids };
}
