/** Deletes what is older than the retention, a little at a time, so that no other write waits for it. */

import { placeholders, type Transaction, type Written } from './database.ts';

/** The limits of one call. They are low because an event row holds up to 64 KiB of log. */
const RUNS = 50;
const EVENT_ROWS = 200;
const DELIVERIES = 500;

export interface PruneOptions {
  /** Milliseconds since the epoch. */
  before: number;
  deliveriesBefore: number;
  /** A run is kept while one of these reporters still has to report it. */
  reporters: readonly string[];
}

/** Resolves to true if there may be more to delete. */
export async function prune(transaction: Transaction, options: PruneOptions): Promise<Written<boolean>> {
  const runs = await pruneRuns(transaction, options);
  const deliveries = await transaction.run(
    `DELETE FROM deliveries WHERE number IN (
       SELECT number FROM deliveries WHERE received_at < ? ORDER BY received_at LIMIT ?)`,
    options.deliveriesBefore,
    DELIVERIES,
  );
  const actions = await transaction.run(
    'DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ? ORDER BY at LIMIT ?)',
    options.deliveriesBefore,
    DELIVERIES,
  );
  return { result: runs || deliveries > 0 || actions > 0, changed: [] };
}

async function pruneRuns(transaction: Transaction, { before, reporters }: PruneOptions): Promise<boolean> {
  const old = await transaction.all(
    `SELECT number FROM runs AS old
      WHERE finished_at < ?
        AND id NOT IN (
          SELECT attempted_run FROM ledger
          UNION SELECT synced_run FROM ledger WHERE synced_run IS NOT NULL
          UNION SELECT run FROM pins)
        AND NOT EXISTS (SELECT 1 FROM runs WHERE covered_by = old.id)
        AND NOT EXISTS (SELECT 1 FROM held_runs WHERE run = old.number)
        AND NOT EXISTS (
          SELECT 1 FROM unreported WHERE run = old.number AND reporter IN ${placeholders(reporters)})
      ORDER BY finished_at LIMIT ?`,
    before,
    ...reporters,
    RUNS,
  );
  let rows = EVENT_ROWS;
  for (const row of old) {
    const number = Number(row.number);
    // The log of a run is deleted first, because a long one takes several calls.
    rows -= await transaction.run(
      'DELETE FROM events WHERE run = ? AND seq IN (SELECT seq FROM events WHERE run = ? ORDER BY seq LIMIT ?)',
      number,
      number,
      rows,
    );
    rows -= await transaction.run(
      `DELETE FROM log_chunks WHERE (run, step, first_line) IN (
         SELECT run, step, first_line FROM log_chunks WHERE run = ? LIMIT ?)`,
      number,
      Math.max(0, rows),
    );
    if (rows <= 0) break;
    await transaction.run('DELETE FROM runs WHERE number = ?', number);
  }
  return old.length > 0;
}
