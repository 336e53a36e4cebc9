/** Keeps the table of runs that can be claimed: every write that changes the state of a run calls one of these. */

import { toolName } from '../../runs/deployments/deployment.ts';
import { kindOf } from '../../runs/kinds/kinds.ts';
import type { Run, RunRequest } from '../../runs/run.ts';
import { asKeys, type Row, type Transaction } from './database.ts';
import { HOLDING_RUNS, QUEUED_RUNS, RUNS_WITH_HOME } from './rows.ts';

const COLUMNS = 'number, concurrency_group, kind, needs, priority, home, home_until';
const TOOL = 'tool:';

/** Returns the list for the column `needs`: the things that a machine must have to work on the run. */
export function needsOf({ kind, input, labels = [] }: Pick<RunRequest, 'kind' | 'input' | 'labels'>): string {
  const tool = kindOf({ kind }).machineTool?.(input);
  return JSON.stringify([...new Set([...labels, ...(tool ? [TOOL + toolName(tool)] : [])])].sort());
}

/** A machine that lists no labels or no tools takes runs with any. */
export function hasAll(
  needs: string,
  labels: readonly string[] | null,
  tools: readonly string[] | null,
): boolean {
  return (JSON.parse(needs) as string[]).every((need) =>
    need.startsWith(TOOL)
      ? (tools?.includes(need.slice(TOOL.length)) ?? true)
      : (labels?.includes(need) ?? true),
  );
}

interface Queued {
  number: number;
  run: Run;
  needs: string;
}

/**
 * Updates the table after runs were added to the ends of their groups' queues. `busy` are the groups whose next run
 * cannot be claimed. Resolves to the numbers of the runs that can be claimed now.
 */
export async function noteQueued(
  transaction: Transaction,
  added: readonly Queued[],
  busy: { has(group: string): boolean },
): Promise<Set<number>> {
  const free = added.filter(({ run }) => !busy.has(run.concurrencyGroup));
  const inserted = transaction.insert(
    'claimable',
    firstOfEach(free).map(({ number, run, needs }) => ({
      number,
      concurrency_group: run.concurrencyGroup,
      kind: run.kind,
      needs,
      priority: run.priority,
    })),
    `ON CONFLICT (concurrency_group, needs) DO UPDATE SET number = excluded.number, priority = excluded.priority
       WHERE excluded.priority > claimable.priority
     RETURNING number`,
  );
  const [rows] = await Promise.all([inserted, countQueued(transaction, added.length)]);
  return new Set(rows.map(({ number }) => Number(number)));
}

/** Returns the run of each group and list of needs that comes first: by priority, then by age. */
function firstOfEach(queued: readonly Queued[]): Queued[] {
  const first = new Map<string, Queued>();
  for (const one of queued) {
    const place = JSON.stringify([one.run.concurrencyGroup, one.needs]);
    const other = first.get(place);
    if (!other || one.run.priority > other.run.priority) first.set(place, one);
  }
  return [...first.values()];
}

/** Updates the table after a run was changed. */
export async function noteChanged(transaction: Transaction, before: Run, after: Run): Promise<void> {
  const joined = Number(after.state === 'queued') - Number(before.state === 'queued');
  if (joined !== 0) await countQueued(transaction, joined);
  const isSame =
    before.state === after.state &&
    before.priority === after.priority &&
    before.notBefore === after.notBefore;
  if (!isSame) await refresh(transaction, after.concurrencyGroup);
}

/** Updates the table after queued runs of a group have ended. */
export async function noteLeft(transaction: Transaction, group: string, runs: number): Promise<void> {
  await countQueued(transaction, -runs);
  await refresh(transaction, group);
}

/** Updates the table after queued runs of a group may start. */
export async function noteReleased(transaction: Transaction, group: string): Promise<void> {
  await refresh(transaction, group);
}

/** Prepares a claim: runs that were postponed until now become claimable. */
export async function noteTime(transaction: Transaction, now: number): Promise<void> {
  const groups = await transaction.all(
    `SELECT DISTINCT concurrency_group FROM runs INDEXED BY runs_put_off
      WHERE state = 'queued' AND not_before > 0 AND not_before <= ?`,
    now,
  );
  for (const { concurrency_group: group } of groups) {
    await transaction.run(
      `UPDATE runs SET not_before = 0 WHERE number IN (
         SELECT number FROM ${QUEUED_RUNS} AND concurrency_group = ? AND not_before > 0 AND not_before <= ?)`,
      String(group),
      now,
    );
    await refresh(transaction, String(group));
  }
}

/**
 * Adds to the number of queued runs. A counter holds it, so that the limit of the queue costs the same however long the
 * queue is.
 */
async function countQueued(transaction: Transaction, more: number): Promise<void> {
  await transaction.run("UPDATE counters SET value = value + ? WHERE name = 'queued_runs'", more);
}

async function isBusy(transaction: Transaction, group: string): Promise<boolean> {
  const sql = `SELECT 1 AS busy FROM ${HOLDING_RUNS} AND concurrency_group = ? LIMIT 1`;
  return (await transaction.get(sql, group)) !== undefined;
}

/**
 * Returns the groups in which a run is worked on, was started and waits for an approval, or was approved and goes on
 * before all others. The value is true if that run waits.
 */
export async function busyGroups(
  transaction: Transaction,
  groups: readonly string[],
): Promise<Map<string, boolean>> {
  const among = 'AND concurrency_group IN (SELECT key FROM json_each(?))';
  const rows = await transaction.all(
    `SELECT concurrency_group, state FROM ${HOLDING_RUNS} ${among}
     UNION ALL
     SELECT concurrency_group, state FROM ${RUNS_WITH_HOME} ${among}`,
    asKeys(groups),
    asKeys(groups),
  );
  return new Map(rows.map((row) => [String(row.concurrency_group), row.state === 'awaiting_approval']));
}

/** Returns the run of a group that was approved and goes on before all others, or undefined. */
function queuedWithHome(transaction: Transaction, group: string): Promise<Row | undefined> {
  return transaction.get(
    `SELECT number, not_before FROM ${RUNS_WITH_HOME} AND concurrency_group = ? LIMIT 1`,
    group,
  );
}

async function refresh(transaction: Transaction, group: string): Promise<void> {
  await transaction.run('DELETE FROM claimable WHERE concurrency_group = ?', group);
  if (await isBusy(transaction, group)) return;
  const atHome = await queuedWithHome(transaction, group);
  if (atHome && Number(atHome.not_before) > 0) return;
  const added = atHome
    ? await transaction.run(
        `INSERT INTO claimable (${COLUMNS}) SELECT ${COLUMNS} FROM runs WHERE number = ?`,
        Number(atHome.number),
      )
    : await transaction.run(FIRST_OF_EACH_NEEDS, group, group, group);
  if (added > 0) transaction.mayClaim = true;
}

/** The query hops from one list of needs to the next, so that a long queue costs nothing. */
const FIRST_OF_EACH_NEEDS = `WITH RECURSIVE lists (needs) AS (
    SELECT min(needs) FROM ${QUEUED_RUNS} AND concurrency_group = ?
    UNION ALL
    SELECT (
      SELECT min(needs) FROM ${QUEUED_RUNS} AND concurrency_group = ? AND needs > lists.needs)
    FROM lists WHERE lists.needs IS NOT NULL
  )
  INSERT INTO claimable (${COLUMNS})
  SELECT ${COLUMNS} FROM runs WHERE number IN (
    SELECT (
      SELECT number FROM ${QUEUED_RUNS} AND concurrency_group = ? AND needs = lists.needs AND not_before = 0
      ORDER BY priority DESC, number LIMIT 1)
    FROM lists WHERE lists.needs IS NOT NULL)`;
