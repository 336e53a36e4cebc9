/** Claims the next run with a lease, and supersedes the runs that it covers. */

import { RUN_KINDS } from '../../../runs/kinds/kinds.ts';
import type { Run, RunKind } from '../../../runs/run.ts';
import type { RunEventBody } from '../../../runs/run-events.ts';
import type { Claim, RunStore } from '../../../runs/run-store.ts';
import { appendEvents, machineOf } from '../append-events.ts';
import { hasAll, noteTime } from '../claimable.ts';
import type { Transaction, Written } from '../database.ts';
import { QUEUED_RUNS, type StoredRun } from '../rows.ts';
import { endHoldsUntil } from './holds.ts';
import { storedRuns } from './stored-runs.ts';
import { supersedeQueued } from './supersede.ts';

type ClaimOptions = Parameters<RunStore['claim']>[0];

/** The facts that the store knows about the machine that claims. */
export interface Claimant {
  /** The tools that the machine has, each named by `toolName`. Null: it takes deployments by any tool. */
  tools: readonly string[] | null;
  /** True if other machines share the store. A run with a home elsewhere is then left to its home for a while. */
  isShared: boolean;
}

export async function claim(
  transaction: Transaction,
  options: ClaimOptions,
  claimant: Claimant,
): Promise<Written<Claim | null>> {
  const now = await transaction.now();
  await noteTime(transaction, now);
  const released = await endHoldsUntil(transaction, now);
  const next = await nextQueued(transaction, options, claimant);
  if (!next) return { result: null, changed: released };
  const covered = next.run.coalesce ? await queuedCoalescing(transaction, next) : [];
  const chosen = covered.pop() ?? next;
  const { owner, leaseMs } = options;
  const token = await nextToken(transaction, now);
  await transaction.run(
    'UPDATE runs SET lease_owner = ?, lease_token = ?, lease_expires_at = ? WHERE number = ?',
    owner,
    token,
    now + leaseMs,
    chosen.number,
  );
  const started: RunEventBody = { type: 'run.started', owner, attempt: chosen.run.attempt + 1 };
  const run = await appendEvents(transaction, chosen, [started]);
  await supersedeQueued(transaction, covered, run.id);
  return {
    result: { run, lease: { runId: run.id, owner, token }, covers: await coveredBy(transaction, run.id) },
    changed: [...released, run.id, ...covered.map((other) => other.run.id)],
  };
}

/**
 * Returns a fencing token, which grows with every claim. It comes from the clock, so that it also grows if the counter
 * was lost.
 */
async function nextToken(transaction: Transaction, now: number): Promise<number> {
  const row = await transaction.get(
    `INSERT INTO counters (name, value) VALUES ('fencing_token', ?)
     ON CONFLICT (name) DO UPDATE SET
       value = CASE WHEN counters.value < excluded.value THEN excluded.value ELSE counters.value + 1 END
     RETURNING value`,
    now,
  );
  return Number(row?.value);
}

/**
 * Returns the runs that this one covers. They include those that an earlier attempt covered, those that were covered
 * before the run was postponed, and those of a run that this one follows because its commit is not on the branch.
 */
async function coveredBy(transaction: Transaction, id: string): Promise<Run[]> {
  const stored = await storedRuns(
    transaction,
    `FROM runs WHERE reason = 'covered_by_newer' AND covered_by IN (
       WITH RECURSIVE followed (id) AS (
         SELECT id FROM runs WHERE id = ?
         UNION
         SELECT runs.id FROM followed JOIN runs ON covered_by = followed.id AND reason = 'not_on_branch'
       )
       SELECT id FROM followed)
     ORDER BY number`,
    id,
  );
  return stored.map(({ run }) => run);
}

/** Returns the claimable run that comes first, by priority and then by age. */
async function nextQueued(
  transaction: Transaction,
  { owner, kinds = RUN_KINDS, labels }: ClaimOptions,
  { tools, isShared }: Claimant,
): Promise<StoredRun | null> {
  if (kinds.length === 0) return null;
  const lists = await transaction.all(listsOfNeeds(kinds), ...kinds);
  const fitting = lists.filter(({ needs }) => hasAll(String(needs), labels ?? null, tools));
  const home = isShared ? 'AND (home IS NULL OR home = ? OR home_until <= ?)' : '';
  const homeValues = isShared ? [machineOf(owner), await transaction.now()] : [];
  let best: { number: number; priority: number } | null = null;
  for (const { kind, needs } of fitting) {
    const row = await transaction.get(
      `SELECT number, priority FROM claimable WHERE kind = ? AND needs = ? ${home}
        ORDER BY priority DESC, number LIMIT 1`,
      String(kind),
      String(needs),
      ...homeValues,
    );
    const first = row && { number: Number(row.number), priority: Number(row.priority) };
    if (first && (best === null || isBefore(first, best))) best = first;
  }
  if (best === null) return null;
  const [next = null] = await storedRuns(transaction, 'FROM runs WHERE number = ?', best.number);
  return next;
}

function isBefore(
  one: { number: number; priority: number },
  other: { number: number; priority: number },
): boolean {
  return one.priority === other.priority ? one.number < other.number : one.priority > other.priority;
}

/**
 * Returns each list of needs that some claimable run of these kinds has. The query hops from one list to the next, so
 * that it reads no whole table. It is exported for the test of that.
 */
export function listsOfNeeds(kinds: readonly RunKind[]): string {
  return `WITH RECURSIVE kinds (kind) AS (VALUES ${kinds.map(() => '(?)').join(', ')}),
    lists (kind, needs) AS (
      SELECT kind, (SELECT min(needs) FROM claimable WHERE claimable.kind = kinds.kind) FROM kinds
      UNION ALL
      SELECT kind, (SELECT min(needs) FROM claimable WHERE claimable.kind = lists.kind AND needs > lists.needs)
      FROM lists WHERE lists.needs IS NOT NULL
    )
    SELECT kind, needs FROM lists WHERE needs IS NOT NULL`;
}

/**
 * Returns the queued runs that coalesce with `next`. They stand between the nearest runs that do not coalesce, so a
 * request between two pushes keeps its place, and a run that waits for a time before `next` is not started in its
 * place.
 */
function queuedCoalescing(transaction: Transaction, { run, number }: StoredRun): Promise<StoredRun[]> {
  const group = run.concurrencyGroup;
  return storedRuns(
    transaction,
    `FROM ${QUEUED_RUNS} AND concurrency_group = ? AND coalesce = 1
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
  );
}
