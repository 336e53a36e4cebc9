/** Reads the list of runs. */

import { setImmediate as giveWay } from 'node:timers/promises';
import { isSearch, isSearched } from '../../../runs/kinds/run-search.ts';
import type { Run } from '../../../runs/run.ts';
import type { RunFilter } from '../../../runs/run-store.ts';
import { type Database, equalTo, placeholders, type Row } from '../database.ts';
import { RUN_COLUMNS, toStoredRun } from '../rows.ts';

/** A search looks through this many runs before other work has its turn. */
const RUNS_AT_ONCE = 200;

export async function numberOf(database: Database, runId: string): Promise<number | null> {
  const row = await database.get('SELECT number FROM runs WHERE id = ?', runId);
  return row ? Number(row.number) : null;
}

export async function readRuns(database: Database, filter: RunFilter): Promise<Run[]> {
  const { limit } = filter;
  let before = filter.before ? ((await numberOf(database, filter.before)) ?? 0) : Number.MAX_SAFE_INTEGER;
  if (!isSearch(filter)) return (await rowsBefore(database, filter, before, limit)).map(toRun);
  const found: Run[] = [];
  while (found.length < limit) {
    const rows = await rowsBefore(database, filter, before, RUNS_AT_ONCE);
    const steps = await stepsOf(database, rows);
    found.push(...rows.map(toRun).filter((run, n) => isSearched(run, steps[n] ?? [], filter)));
    if (rows.length < RUNS_AT_ONCE) break;
    before = Number(rows.at(-1)?.number);
    await giveWay();
  }
  return found.slice(0, limit);
}

async function rowsBefore(
  database: Database,
  { state, kind, concurrencyGroup, dedupeKey }: RunFilter,
  before: number,
  limit: number,
): Promise<Row[]> {
  const { text, values } = equalTo({
    state,
    kind,
    concurrency_group: concurrencyGroup,
    dedupe_key: dedupeKey,
  });
  return database.all(
    `SELECT ${RUN_COLUMNS} FROM runs WHERE ${text}number < ? ORDER BY number DESC LIMIT ?`,
    ...values,
    before,
    limit,
  );
}

/** Returns the ids of the steps of each row. */
async function stepsOf(database: Database, rows: readonly Row[]): Promise<string[][]> {
  if (rows.length === 0) return [];
  const numbers = rows.map(({ number }) => Number(number));
  const steps = await database.all(
    `SELECT run, id FROM steps WHERE run IN ${placeholders(numbers)} ORDER BY run, position`,
    ...numbers,
  );
  const ids = Map.groupBy(steps, ({ run }) => Number(run));
  return numbers.map((number) => (ids.get(number) ?? []).map(({ id }) => String(id)));
}

function toRun(row: Row): Run {
  return toStoredRun(row).run;
}
