/** The run that is worked on next, with its lease, and those it covers. */

import { RUN_KINDS, type Run, type RunKind } from '../../../runs/run.ts';
import type { RunEventBody } from '../../../runs/run-events.ts';
import type { Claim } from '../../../runs/run-store.ts';
import { appendEvents } from '../append-events.ts';
import { noteTime } from '../claimable.ts';
import type { Database } from '../database.ts';
import { QUEUED_RUNS, RUN_COLUMNS, type StoredRun, toStoredRun } from '../rows.ts';
import { supersede } from './stored-runs.ts';
import type { Written } from './written.ts';

export function claim(
  database: Database,
  options: {
    owner: string;
    leaseMs: number;
    kinds?: readonly RunKind[];
    labels?: readonly string[] | undefined;
  },
): Written<Claim | null> {
  const { owner, leaseMs, kinds = RUN_KINDS, labels = null } = options;
  noteTime(database, Date.now());
  const next = nextQueued(database, kinds, labels);
  if (!next) return { result: null, changed: [] };
  const covered = next.run.coalesce ? queuedCoalescing(database, next) : [];
  const chosen = covered.pop() ?? next;
  const token = Number(
    database.get(
      `INSERT INTO counters (name, value) VALUES ('fencing_token', 1)
       ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value`,
    )?.value,
  );
  database.run(
    'UPDATE runs SET lease_owner = ?, lease_token = ?, lease_expires_at = ? WHERE number = ?',
    owner,
    token,
    Date.now() + leaseMs,
    chosen.number,
  );
  const started: RunEventBody = { type: 'run.started', owner, attempt: chosen.run.attempt + 1 };
  const run = appendEvents(database, chosen, [started], Date.now());
  for (const stored of covered) supersede(database, stored, run.id);
  return {
    result: { run, lease: { runId: run.id, owner, token }, covers: coveredBy(database, run.id) },
    changed: [run.id, ...covered.map((other) => other.run.id)],
  };
}

/**
 * Also those covered by an earlier attempt, or before the run was put off, and those of a run that this one follows
 * because its commit is not on the branch.
 */
function coveredBy(database: Database, id: string): Run[] {
  return database
    .all(
      `WITH RECURSIVE followed (id) AS (
         SELECT ?
         UNION
         SELECT runs.id FROM followed JOIN runs ON covered_by = followed.id AND reason = 'not_on_branch'
       )
       SELECT ${RUN_COLUMNS} FROM runs
       WHERE covered_by IN (SELECT id FROM followed) AND reason = 'covered_by_newer' ORDER BY number`,
      id,
    )
    .map((row) => toStoredRun(row).run);
}

/** The claimable run that comes first, by priority and then by age. Hops from one set of labels to the next. */
function nextQueued(
  database: Database,
  kinds: readonly RunKind[],
  labels: readonly string[] | null,
): StoredRun | null {
  const row = database.get(NEXT_QUEUED, JSON.stringify(kinds), labels && JSON.stringify(labels));
  return row ? toStoredRun(row) : null;
}

/** Exported for the test that it reads no whole table. */
export const NEXT_QUEUED = `WITH RECURSIVE sets (kind, labels) AS (
    SELECT value, (SELECT min(labels) FROM claimable WHERE kind = value) FROM json_each(?1)
    UNION ALL
    SELECT kind, (SELECT min(labels) FROM claimable WHERE kind = sets.kind AND labels > sets.labels)
    FROM sets WHERE sets.labels IS NOT NULL
  ),
  firsts (first) AS (
    SELECT (SELECT number FROM claimable WHERE kind = sets.kind AND labels = sets.labels
      ORDER BY priority DESC, number LIMIT 1)
    FROM sets
    WHERE sets.labels IS NOT NULL AND (?2 IS NULL OR NOT EXISTS (
      SELECT 1 FROM json_each(sets.labels) WHERE value NOT IN (SELECT value FROM json_each(?2))))
  )
  SELECT ${RUN_COLUMNS} FROM runs WHERE number = (
    SELECT first FROM firsts JOIN claimable ON number = first ORDER BY priority DESC, first LIMIT 1)`;

/**
 * Around `next`, between those that do not coalesce: what was asked for between two pushes keeps its place, and what
 * waits for a time before it is not begun in the place of `next`.
 */
function queuedCoalescing(database: Database, { run, number }: StoredRun): StoredRun[] {
  const group = run.concurrencyGroup;
  return database
    .all(
      `SELECT ${RUN_COLUMNS} FROM ${QUEUED_RUNS} AND concurrency_group = ? AND coalesce = 1
          AND number > coalesce((SELECT max(number) FROM ${QUEUED_RUNS}
            AND concurrency_group = ? AND coalesce = 0 AND number < ?), 0)
          AND number < coalesce((SELECT min(number) FROM ${QUEUED_RUNS}
            AND concurrency_group = ? AND coalesce = 0 AND number > ?), 9223372036854775807)
        ORDER BY number`,
      group,
      group,
      number,
      group,
      number,
    )
    .map(toStoredRun);
}
