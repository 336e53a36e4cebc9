/** Keeps the table of runs that can be claimed: whoever changes the state of a run calls one of these. */

import type { Run } from '../../runs/run.ts';
import type { Database } from './database.ts';
import { HOLDING_RUNS, QUEUED_RUNS, type StoredRun } from './rows.ts';

const COLUMNS = 'number, concurrency_group, kind, labels, priority';

/** After a run was added to the end of its group's queue. */
export function noteQueued(database: Database, { number, run }: Pick<StoredRun, 'number' | 'run'>): void {
  if (isHeld(database, run.concurrencyGroup)) return;
  const added = database.run(
    `INSERT INTO claimable (${COLUMNS}) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (concurrency_group, labels) DO UPDATE SET number = excluded.number, priority = excluded.priority
       WHERE excluded.priority > priority`,
    number,
    run.concurrencyGroup,
    run.kind,
    JSON.stringify(run.labels),
    run.priority,
  );
  if (added > 0) database.mayClaim = true;
}

/** After a run was changed. */
export function noteChanged(database: Database, before: Run, after: Run): void {
  const isSame =
    before.state === after.state &&
    before.priority === after.priority &&
    before.notBefore === after.notBefore;
  if (!isSame) refresh(database, after.concurrencyGroup);
}

/** Before a claim: what had been put off until now can be claimed. */
export function noteTime(database: Database, now: number): void {
  const groups = database.all(
    `SELECT DISTINCT concurrency_group FROM runs INDEXED BY runs_put_off
      WHERE state = 'queued' AND not_before > 0 AND not_before <= ?`,
    now,
  );
  for (const { concurrency_group: group } of groups) {
    database.run(
      `UPDATE runs SET not_before = 0 WHERE number IN (
         SELECT number FROM ${QUEUED_RUNS} AND concurrency_group = ? AND not_before > 0 AND not_before <= ?)`,
      String(group),
      now,
    );
    refresh(database, String(group));
  }
}

function isHeld(database: Database, group: string): boolean {
  return database.get(`SELECT 1 FROM ${HOLDING_RUNS} AND concurrency_group = ? LIMIT 1`, group) !== undefined;
}

/** Hops from one set of labels to the next, so that a long queue costs nothing. */
function refresh(database: Database, group: string): void {
  database.run('DELETE FROM claimable WHERE concurrency_group = ?', group);
  if (isHeld(database, group)) return;
  const added = database.run(
    `WITH RECURSIVE sets (labels) AS (
      SELECT min(labels) FROM ${QUEUED_RUNS} AND concurrency_group = ?1
      UNION ALL
      SELECT (SELECT min(labels) FROM ${QUEUED_RUNS} AND concurrency_group = ?1 AND labels > sets.labels)
      FROM sets WHERE sets.labels IS NOT NULL
    )
    INSERT INTO claimable (${COLUMNS})
    SELECT ${COLUMNS} FROM runs WHERE number IN (
      SELECT (
        SELECT number FROM ${QUEUED_RUNS} AND concurrency_group = ?1 AND labels = sets.labels AND not_before = 0
        ORDER BY priority DESC, number LIMIT 1)
      FROM sets WHERE sets.labels IS NOT NULL)`,
    group,
  );
  if (added > 0) database.mayClaim = true;
}
