/** Deletes what is older than the retention, a little at a time, so that no other write waits for it. */

import type { Database } from './database.ts';

/** Of one call. An event row holds up to 64 KiB of log. */
const RUNS = 50;
const EVENT_ROWS = 200;
const DELIVERIES = 500;
/** Pages given back to the file system by one call, and as many free ones as are kept for what comes next. */
const PAGES = 1_000;
const FREE_PAGES = 10_000;

export interface PruneOptions {
  /** Milliseconds since the epoch. */
  before: number;
  deliveriesBefore: number;
  /** Those whose unfinished reports keep a run. */
  reporters: readonly string[];
}

/** True when there may be more to delete. */
export function prune(database: Database, options: PruneOptions): boolean {
  const runs = pruneRuns(database, options);
  const deliveries = database.run(
    `DELETE FROM deliveries WHERE number IN (
       SELECT number FROM deliveries WHERE received_at < ? ORDER BY received_at LIMIT ?)`,
    options.deliveriesBefore,
    DELIVERIES,
  );
  return shrink(database) || runs || deliveries > 0;
}

function pruneRuns(database: Database, { before, reporters }: PruneOptions): boolean {
  const old = database.all(
    `SELECT number FROM runs AS old
      WHERE finished_at < ?
        AND id NOT IN (
          SELECT attempted_run FROM ledger
          UNION SELECT synced ->> 'runId' FROM ledger WHERE synced IS NOT NULL
          UNION SELECT run FROM pins)
        AND NOT EXISTS (SELECT 1 FROM runs WHERE covered_by = old.id)
        AND NOT EXISTS (
          SELECT 1 FROM unreported
           WHERE run = old.number AND reporter IN (SELECT value FROM json_each(?)))
      ORDER BY finished_at LIMIT ?`,
    before,
    JSON.stringify(reporters),
    RUNS,
  );
  let rows = EVENT_ROWS;
  for (const { number = null } of old) {
    // Its log goes first: a long one takes several calls.
    rows -= database.run(
      'DELETE FROM events WHERE run = ? AND seq IN (SELECT seq FROM events WHERE run = ? ORDER BY seq LIMIT ?)',
      number,
      number,
      rows,
    );
    if (rows <= 0) break;
    database.run('DELETE FROM runs WHERE number = ?', number);
  }
  return old.length > 0;
}

/** Gives free pages at the end of the file back (https://sqlite.org/pragma.html#pragma_incremental_vacuum). */
function shrink(database: Database): boolean {
  const free = Number(database.get('PRAGMA freelist_count')?.freelist_count);
  if (free <= FREE_PAGES) return false;
  database.raw.exec(`PRAGMA incremental_vacuum(${PAGES})`);
  return Number(database.get('PRAGMA freelist_count')?.freelist_count) < free;
}
