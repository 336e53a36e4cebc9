/** Every read of the store, on a connection of its own. */

import type { OutsideHash } from '../../runs/config-hashes.ts';
import type { Delivery } from '../../runs/delivery.ts';
import type { Run, Step } from '../../runs/run.ts';
import { type RunEvent, sequenceWidth } from '../../runs/run-events.ts';
import type { Ledger, Report, RunFilter, RunTally } from '../../runs/run-store.ts';
import type { Database } from './database.ts';
import {
  HOLDING_RUNS,
  QUEUED_RUNS,
  RUN_COLUMNS,
  STEP_COLUMNS,
  toDelivery,
  toEvent,
  toLedgerEntry,
  toOutsideHash,
  toReport,
  toStep,
  toStoredRun,
  toTally,
} from './rows.ts';

/** A page of events ends after about this much text, so that no reader holds a whole log. */
const PAGE_BYTES = 1024 * 1024;

export function readRun(database: Database, id: string): Run | null {
  const row = database.get(`SELECT ${RUN_COLUMNS} FROM runs WHERE id = ?`, id);
  return row ? toStoredRun(row).run : null;
}

export function readRuns(database: Database, filter: RunFilter): Run[] {
  const { state, kind, concurrencyGroup, limit } = filter;
  const before = filter.before
    ? Number(database.get('SELECT number FROM runs WHERE id = ?', filter.before)?.number ?? 0)
    : Number.MAX_SAFE_INTEGER;
  const conditions = Object.entries({ state, kind, concurrency_group: concurrencyGroup }).flatMap(
    ([column, value]) => (value === undefined ? [] : [{ text: `${column} = ? AND `, value }]),
  );
  return database
    .all(
      `SELECT ${RUN_COLUMNS} FROM runs WHERE ${conditions.map(({ text }) => text).join('')}number < ?
        ORDER BY number DESC LIMIT ?`,
      ...conditions.map(({ value }) => value),
      before,
      limit,
    )
    .map((row) => toStoredRun(row).run);
}

export function isNonceSpent(database: Database, nonce: string): boolean {
  return database.get('SELECT 1 FROM nonces WHERE nonce = ?', nonce) !== undefined;
}

export function readSealed(database: Database, runId: string): string | null {
  return readBeside(database, 'sealed', runId);
}

export function readKeptPlan(database: Database, runId: string): string | null {
  return readBeside(database, 'kept_plans', runId);
}

function readBeside(database: Database, table: 'sealed' | 'kept_plans', runId: string): string | null {
  const sql = `SELECT text FROM ${table} WHERE run = (SELECT number FROM runs WHERE id = ?)`;
  const text = database.get(sql, runId)?.text;
  return typeof text === 'string' ? text : null;
}

export function readSteps(database: Database, runId: string): Step[] {
  return database
    .all(
      `SELECT ${STEP_COLUMNS} FROM steps WHERE run = (SELECT number FROM runs WHERE id = ?) ORDER BY position`,
      runId,
    )
    .map(toStep);
}

export function readEvents(
  database: Database,
  runId: string,
  options: { after: number; limit: number },
): RunEvent[] {
  const number = database.get('SELECT number FROM runs WHERE id = ?', runId)?.number;
  if (number === undefined) return [];
  const events: RunEvent[] = [];
  let bytes = 0;
  // The chunk that holds line `after` may hold later lines too, so the scan begins at that chunk.
  const rows = database.iterate(
    `SELECT seq, at, type, data FROM events
      WHERE run = ? AND seq >= coalesce((SELECT max(seq) FROM events WHERE run = ? AND seq <= ?), 0)
      ORDER BY seq`,
    number,
    number,
    options.after,
  );
  for (const row of rows) {
    const event = toEvent(runId, row);
    if (event.seq + sequenceWidth(event) - 1 <= options.after) continue;
    events.push(event);
    bytes += String(row.data).length;
    if (events.length >= options.limit || bytes >= PAGE_BYTES) break;
  }
  return events;
}

export function readLatestEvent(database: Database, runId: string, type: RunEvent['type']): RunEvent | null {
  const row = database.get(
    `SELECT seq, at, type, data FROM events
      WHERE run = (SELECT number FROM runs WHERE id = ?) AND type = ? AND type <> 'step.log'
      ORDER BY seq DESC LIMIT 1`,
    runId,
    type,
  );
  return row ? toEvent(runId, row) : null;
}

export function readEventsOf(database: Database, runId: string, type: RunEvent['type']): RunEvent[] {
  return database
    .all(
      `SELECT seq, at, type, data FROM events
        WHERE run = (SELECT number FROM runs WHERE id = ?) AND type = ? AND type <> 'step.log' ORDER BY seq`,
      runId,
      type,
    )
    .map((row) => toEvent(runId, row));
}

export function readLedger(database: Database, scope: string): Ledger {
  const entries = database.all('SELECT * FROM ledger WHERE scope = ?', scope).map(toLedgerEntry);
  const pins = database.all('SELECT service, commit_id FROM pins WHERE scope = ?', scope);
  const rules = database.get('SELECT text FROM rules WHERE scope = ?', scope)?.text;
  const baseline = database.get('SELECT commit_id FROM baselines WHERE scope = ?', scope)?.commit_id;
  const examined = database.get('SELECT commit_id, run FROM examined WHERE scope = ?', scope);
  return {
    entries: new Map(entries.map((entry) => [entry.service, entry])),
    baseline: typeof baseline === 'string' ? baseline : null,
    examined: examined ? { commit: String(examined.commit_id), runId: String(examined.run) } : null,
    rules: typeof rules === 'string' ? rules : null,
    pins: new Map(pins.map((row) => [String(row.service), String(row.commit_id)])),
  };
}

export function readOutsideHashes(database: Database, scope: string): Map<string, OutsideHash> {
  const rows = database.all('SELECT * FROM outside_hashes WHERE scope = ?', scope);
  return new Map(rows.map((row) => [String(row.service), toOutsideHash(row)]));
}

export function readTally(database: Database): RunTally {
  return toTally({
    open: database.all(
      `SELECT kind, state, count(*) AS runs FROM runs
        WHERE state IN ('queued', 'running', 'awaiting_approval') GROUP BY kind, state`,
    ),
    ended: database.all('SELECT * FROM run_endings ORDER BY kind, state, up_to_s'),
    bounds: database.all('SELECT up_to_s FROM duration_bounds ORDER BY up_to_s'),
  });
}

export function readUnreported(database: Database, reporter: string, limit: number): Run[] {
  return database
    .all(
      `SELECT ${RUN_COLUMNS} FROM runs
        WHERE number IN (SELECT run FROM unreported WHERE reporter = ? ORDER BY run LIMIT ?)
        ORDER BY number`,
      reporter,
      limit,
    )
    .map((row) => toStoredRun(row).run);
}

export function readReports(database: Database, reporter: string, runId: string): Report[] {
  return database
    .all(
      'SELECT * FROM reports WHERE reporter = ? AND run = (SELECT number FROM runs WHERE id = ?)',
      reporter,
      runId,
    )
    .map((row) => toReport(runId, row));
}

export function readActive(database: Database, concurrencyGroup: string): Run[] {
  return database
    .all(
      `SELECT ${RUN_COLUMNS} FROM ${QUEUED_RUNS} AND concurrency_group = ?
       UNION ALL
       SELECT ${RUN_COLUMNS} FROM ${HOLDING_RUNS} AND concurrency_group = ?`,
      concurrencyGroup,
      concurrencyGroup,
    )
    .map((row) => toStoredRun(row).run);
}

export function readProcesses(
  database: Database,
  runId: string,
): { step: string; pid: number; startTicks: string }[] {
  const rows = database.all(
    `SELECT data FROM events
      WHERE run = (SELECT number FROM runs WHERE id = ?) AND type = 'step.process' AND type <> 'step.log'
        AND data ->> 'step' IN (SELECT id FROM steps WHERE run = events.run AND state = 'running')`,
    runId,
  );
  return rows.map((row) => JSON.parse(String(row.data)));
}

export function readDeliveries(
  database: Database,
  filter: { before?: number; decision?: Delivery['decision']; limit: number },
): Delivery[] {
  const before = filter.before ?? Number.MAX_SAFE_INTEGER;
  const rows = filter.decision
    ? database.all(
        'SELECT * FROM deliveries WHERE decision = ? AND number < ? ORDER BY number DESC LIMIT ?',
        filter.decision,
        before,
        filter.limit,
      )
    : database.all(
        'SELECT * FROM deliveries WHERE number < ? ORDER BY number DESC LIMIT ?',
        before,
        filter.limit,
      );
  return rows.map(toDelivery);
}

export function readDelivery(database: Database, number: number): Delivery | null {
  const row = database.get('SELECT * FROM deliveries WHERE number = ?', number);
  return row ? toDelivery(row) : null;
}
