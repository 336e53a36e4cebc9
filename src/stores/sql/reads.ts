/** The reads of the store, except for the list of runs. */

import type { Delivery } from '../../runs/delivery.ts';
import type { AuditEntry, AuditFilter, Session } from '../../runs/people.ts';
import type { Report } from '../../runs/report.ts';
import type { Run, Step } from '../../runs/run.ts';
import { type RunEvent, sequenceWidth } from '../../runs/run-events.ts';
import type { RunTally } from '../../runs/run-tally.ts';
import { type Database, equalTo, type Value } from './database.ts';
import { numberOf } from './reads/runs.ts';
import {
  HOLDING_RUNS,
  QUEUED_RUNS,
  RUN_COLUMNS,
  STEP_COLUMNS,
  toAuditEntry,
  toDelivery,
  toEvent,
  toReport,
  toSession,
  toStep,
  toStoredRun,
  toTally,
} from './rows.ts';

/** A page of events ends after about this much text, so that no reader holds a whole log. */
const PAGE_BYTES = 1024 * 1024;
/** One row holds up to 64 KiB of log. */
const ROWS_AT_ONCE = 32;
/** Ids are hexadecimal. */
const AFTER_ALL_IDS = 'g';

async function runsFrom(database: Database, sql: string, ...values: Value[]): Promise<Run[]> {
  return (await database.all(sql, ...values)).map((row) => toStoredRun(row).run);
}

export async function readRun(database: Database, id: string): Promise<Run | null> {
  const [run = null] = await runsFrom(database, `SELECT ${RUN_COLUMNS} FROM runs WHERE id = ?`, id);
  return run;
}

/** Returns the sealed text beside a run from one of the tables: its secrets or its plan. Null if there is none. */
export async function readBeside(
  database: Database,
  table: 'sealed' | 'kept_plans',
  runId: string,
): Promise<string | null> {
  const sql = `SELECT text FROM ${table} WHERE run = (SELECT number FROM runs WHERE id = ?)`;
  const text = (await database.get(sql, runId))?.text;
  return typeof text === 'string' ? text : null;
}

export async function readSteps(database: Database, runId: string): Promise<Step[]> {
  const rows = await database.all(
    `SELECT ${STEP_COLUMNS} FROM steps WHERE run = (SELECT number FROM runs WHERE id = ?) ORDER BY position`,
    runId,
  );
  return rows.map(toStep);
}

export async function readEvents(
  database: Database,
  runId: string,
  { after, limit }: { after: number; limit: number },
): Promise<RunEvent[]> {
  const number = await numberOf(database, runId);
  if (number === null) return [];
  // The chunk that holds line `after` may hold later lines too, so the scan begins at that chunk.
  const first = 'SELECT max(seq) AS seq FROM events WHERE run = ? AND seq <= ?';
  let from = Number((await database.get(first, number, after))?.seq ?? 0);
  const events: RunEvent[] = [];
  let bytes = 0;
  while (true) {
    const rows = await database.all(
      'SELECT seq, at, type, data FROM events WHERE run = ? AND seq >= ? ORDER BY seq LIMIT ?',
      number,
      from,
      ROWS_AT_ONCE,
    );
    for (const row of rows) {
      const event = toEvent(runId, row);
      from = event.seq + 1;
      if (event.seq + sequenceWidth(event) - 1 <= after) continue;
      events.push(event);
      bytes += String(row.data).length;
      if (events.length >= limit || bytes >= PAGE_BYTES) return events;
    }
    if (rows.length < ROWS_AT_ONCE) return events;
  }
}

export async function readLatestEvent(
  database: Database,
  runId: string,
  type: RunEvent['type'],
): Promise<RunEvent | null> {
  const row = await database.get(
    `SELECT seq, at, type, data FROM events
      WHERE run = (SELECT number FROM runs WHERE id = ?) AND type = ? AND type <> 'step.log'
      ORDER BY seq DESC LIMIT 1`,
    runId,
    type,
  );
  return row ? toEvent(runId, row) : null;
}

export async function readEventsOf(
  database: Database,
  runId: string,
  type: RunEvent['type'],
): Promise<RunEvent[]> {
  const rows = await database.all(
    `SELECT seq, at, type, data FROM events
      WHERE run = (SELECT number FROM runs WHERE id = ?) AND type = ? AND type <> 'step.log' ORDER BY seq`,
    runId,
    type,
  );
  return rows.map((row) => toEvent(runId, row));
}

export async function readTally(database: Database): Promise<RunTally> {
  return toTally({
    open: await database.all(
      `SELECT kind, state, count(*) AS runs FROM runs
        WHERE state IN ('queued', 'running', 'awaiting_approval') GROUP BY kind, state`,
    ),
    ended: await database.all('SELECT * FROM run_endings ORDER BY kind, state, up_to_s'),
  });
}

export async function readUnreported(
  database: Database,
  reporter: string,
  limit: number,
  after = '',
): Promise<Run[]> {
  const page = 'SELECT run FROM unreported WHERE reporter = ? AND run > ? ORDER BY run LIMIT ?';
  const sql = `SELECT ${RUN_COLUMNS} FROM runs WHERE number IN (${page}) ORDER BY number`;
  return runsFrom(database, sql, reporter, (await numberOf(database, after)) ?? 0, limit);
}

export async function readReports(database: Database, reporter: string, runId: string): Promise<Report[]> {
  const rows = await database.all(
    'SELECT * FROM reports WHERE reporter = ? AND run = (SELECT number FROM runs WHERE id = ?)',
    reporter,
    runId,
  );
  return rows.map((row) => toReport(runId, row));
}

export function readActive(database: Database, concurrencyGroup: string): Promise<Run[]> {
  return runsFrom(
    database,
    `SELECT ${RUN_COLUMNS} FROM ${QUEUED_RUNS} AND concurrency_group = ?
       AND NOT EXISTS (SELECT 1 FROM held_runs WHERE run = runs.number)
     UNION ALL
     SELECT ${RUN_COLUMNS} FROM ${HOLDING_RUNS} AND concurrency_group = ?`,
    concurrencyGroup,
    concurrencyGroup,
  );
}

export async function readProcesses(
  database: Database,
  runId: string,
): Promise<{ step: string; pid: number; startTicks: string }[]> {
  const steps = await readSteps(database, runId);
  const running = new Set(steps.filter(({ state }) => state === 'running').map(({ id }) => id));
  const events = (await readEventsOf(database, runId, 'step.process')) as Extract<
    RunEvent,
    { type: 'step.process' }
  >[];
  return events
    .filter(({ step }) => running.has(step))
    .map(({ step, pid, startTicks }) => ({ step, pid, startTicks }));
}

export async function readDeliveries(
  database: Database,
  filter: { before?: number; decision?: Delivery['decision']; limit: number },
): Promise<Delivery[]> {
  const { before = Number.MAX_SAFE_INTEGER, decision, limit } = filter;
  const rows = decision
    ? await database.all(
        'SELECT * FROM deliveries WHERE decision = ? AND number < ? ORDER BY number DESC LIMIT ?',
        decision,
        before,
        limit,
      )
    : await database.all(
        'SELECT * FROM deliveries WHERE number < ? ORDER BY number DESC LIMIT ?',
        before,
        limit,
      );
  return rows.map(toDelivery);
}

export async function readDelivery(database: Database, number: number): Promise<Delivery | null> {
  const row = await database.get('SELECT * FROM deliveries WHERE number = ?', number);
  return row ? toDelivery(row) : null;
}

/** The newest first. */
export async function readActions(
  database: Database,
  { before, limit, ...equal }: AuditFilter & { limit: number },
): Promise<AuditEntry[]> {
  const { text, values } = equalTo(equal);
  const rows = await database.all(
    `SELECT * FROM audit WHERE ${text}id < ? ORDER BY id DESC LIMIT ?`,
    ...values,
    before ?? AFTER_ALL_IDS,
    limit,
  );
  return rows.map(toAuditEntry);
}

export async function readSession(database: Database, id: string): Promise<Session | null> {
  const row = await database.get('SELECT * FROM sessions WHERE id = ?', id);
  return row ? toSession(row) : null;
}

/** The newest first. */
export async function readSessions(database: Database): Promise<Session[]> {
  return (await database.all('SELECT * FROM sessions ORDER BY created_at DESC, id')).map(toSession);
}
