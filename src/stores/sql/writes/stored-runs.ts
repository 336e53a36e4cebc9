/** Reads and changes stored runs for several writes. */

import { uncovered, uncoveredBy } from '../../../runs/run-decisions.ts';
import type { RunEventBody } from '../../../runs/run-events.ts';
import { appendEvents } from '../append-events.ts';
import type { Transaction, Value } from '../database.ts';
import { RUN_COLUMNS, type StoredRun, toStoredRun } from '../rows.ts';

/** `rest` is the statement after the columns, from FROM on. */
export async function storedRuns(
  transaction: Transaction,
  rest: string,
  ...values: Value[]
): Promise<StoredRun[]> {
  return (await transaction.all(`SELECT ${RUN_COLUMNS} ${rest}`, ...values)).map(toStoredRun);
}

export async function findRun(transaction: Transaction, id: string): Promise<StoredRun | null> {
  const [stored = null] = await storedRuns(transaction, 'FROM runs WHERE id = ?', id);
  return stored;
}

/** Returns the open steps of a run that waits or that no worker has any more. */
export async function openSteps(transaction: Transaction, { number }: StoredRun): Promise<string[]> {
  const rows = await transaction.all(
    "SELECT id FROM steps WHERE run = ? AND state IN ('pending', 'running')",
    number,
  );
  return rows.map((row) => String(row.id));
}

/** Applies the events of a covering run to the covered runs. Resolves to the ids of those that changed. */
export async function uncover(transaction: Transaction, events: readonly RunEventBody[]): Promise<string[]> {
  const changed: string[] = [];
  for (const { id, message } of uncoveredBy(events)) {
    const stored = await findRun(transaction, id);
    const follows = stored ? uncovered(stored.run, message) : [];
    if (!stored || follows.length === 0) continue;
    await appendEvents(transaction, stored, follows);
    changed.push(id);
  }
  return changed;
}

export async function saveBeside(
  transaction: Transaction,
  table: 'sealed' | 'kept_plans',
  run: number,
  text: string,
): Promise<void> {
  await transaction.run(
    `INSERT INTO ${table} (run, text) VALUES (?, ?) ON CONFLICT (run) DO UPDATE SET text = excluded.text`,
    run,
    text,
  );
}
