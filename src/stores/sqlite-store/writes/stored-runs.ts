/** What several writes do with a stored run. */

import { supersededBy, uncovered, uncoveredBy } from '../../../runs/run-decisions.ts';
import type { RunEventBody } from '../../../runs/run-events.ts';
import { appendEvents } from '../append-events.ts';
import type { Database } from '../database.ts';
import { RUN_COLUMNS, type StoredRun, toStoredRun } from '../rows.ts';

export function findRun(database: Database, id: string): StoredRun | null {
  const row = database.get(`SELECT ${RUN_COLUMNS} FROM runs WHERE id = ?`, id);
  return row ? toStoredRun(row) : null;
}

/** The steps that a run which waits, or is nobody's any more, has still open. */
export function openSteps(database: Database, { number }: StoredRun): string[] {
  return database
    .all("SELECT id FROM steps WHERE run = ? AND state IN ('pending', 'running')", number)
    .map((row) => String(row.id));
}

export function supersede(database: Database, stored: StoredRun, coveredBy: string): void {
  appendEvents(database, stored, [supersededBy(stored.run, coveredBy)], Date.now());
}

/** Writes to covered runs what events of the covering one say of them. Returns those that changed. */
export function uncover(database: Database, events: readonly RunEventBody[]): string[] {
  return uncoveredBy(events).flatMap(({ id, message }) => {
    const stored = findRun(database, id);
    const follows = stored ? uncovered(stored.run, message) : [];
    if (stored && follows.length > 0) appendEvents(database, stored, follows, Date.now());
    return follows.length > 0 ? [id] : [];
  });
}

export function saveBeside(
  database: Database,
  table: 'sealed' | 'kept_plans',
  runId: string,
  text: string,
): void {
  database.run(
    `INSERT INTO ${table} (run, text) VALUES ((SELECT number FROM runs WHERE id = ?), ?)
     ON CONFLICT (run) DO UPDATE SET text = excluded.text`,
    runId,
    text,
  );
}
