/** Writes and reads the index of the logs, which says at which line of its step each chunk begins. */

import type { LogChunk, LogPage, LogTotals } from '../../runs/projections/log-lines.ts';
import type { RunEvent, RunEventBody } from '../../runs/run-events.ts';
import type { Database, Transaction } from './database.ts';
import { toEvent } from './rows.ts';

type LogEvent<Event extends { type: string } = RunEvent> = Extract<Event, { type: 'step.log' }>;

/** One row holds up to 64 KiB of log. */
const ROWS_AT_ONCE = 8;

/** Adds the chunk after the last one of its step. */
export async function noteLogChunk(
  transaction: Transaction,
  run: number,
  seq: number,
  { step, lines }: LogEvent<RunEventBody>,
): Promise<void> {
  if (lines.length === 0) return;
  await transaction.run(
    `INSERT INTO log_chunks (run, step, first_line, lines, seq)
     VALUES (?, ?, coalesce(
       (SELECT first_line + lines FROM log_chunks WHERE run = ? AND step = ? ORDER BY first_line DESC LIMIT 1), 1
     ), ?, ?)`,
    run,
    step,
    run,
    step,
    lines.length,
    seq,
  );
}

/** Reads how many lines each step has, all at one moment. */
export async function readLogTotals(database: Database, runId: string): Promise<LogTotals> {
  const rows = await database.all(
    `SELECT runs.next_seq, steps.id AS step,
       (SELECT first_line + lines - 1 FROM log_chunks
         WHERE log_chunks.run = steps.run AND step = steps.id ORDER BY first_line DESC LIMIT 1) AS total
     FROM runs LEFT JOIN steps ON steps.run = runs.number WHERE runs.id = ?`,
    runId,
  );
  const steps = rows.filter(({ step }) => step !== null);
  return {
    totals: new Map(steps.map(({ step, total }) => [String(step), Number(total ?? 0)])),
    through: Number(rows[0]?.next_seq ?? 1) - 1,
  };
}

/** Reads the chunks from the one that holds line `from`, until they have about `characters`. */
export async function readLogChunks(
  database: Database,
  runId: string,
  { step, from, to, characters }: LogPage,
): Promise<LogChunk[]> {
  const chunks: LogChunk[] = [];
  let length = 0;
  for (let next = from; ; ) {
    const rows = await chunkRows(database, runId, { step, from: next, to });
    for (const { first_line, ...row } of rows) {
      const { seq, at, stream, lines } = toEvent(runId, { ...row, type: 'step.log' }) as LogEvent;
      chunks.push({ firstLine: Number(first_line), seq, at, stream, lines });
      next = Number(first_line) + lines.length;
      length += String(row.data).length;
      if (length >= characters) return chunks;
    }
    if (rows.length < ROWS_AT_ONCE) return chunks;
  }
}

function chunkRows(database: Database, runId: string, { step, from, to }: Omit<LogPage, 'characters'>) {
  return database.all(
    `SELECT chunk.first_line, events.seq, events.at, events.data
     FROM runs
     JOIN log_chunks AS chunk ON chunk.run = runs.number
     JOIN events ON events.run = chunk.run AND events.seq = chunk.seq
     WHERE runs.id = ? AND chunk.step = ? AND chunk.first_line <= ? AND chunk.first_line >= coalesce(
       (SELECT first_line FROM log_chunks WHERE log_chunks.run = runs.number AND step = ? AND first_line <= ?
         ORDER BY first_line DESC LIMIT 1), 1)
     ORDER BY chunk.first_line LIMIT ?`,
    runId,
    step,
    to,
    step,
    from,
    ROWS_AT_ONCE,
  );
}
