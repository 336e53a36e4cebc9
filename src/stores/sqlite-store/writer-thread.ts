/**
 * The thread that owns the writing connection. All calls that arrive while one commit waits for the disk share
 * the next commit (group commit), and a slow disk never blocks the thread that answers requests.
 */

import { parentPort, workerData } from 'node:worker_threads';
import { QueueFullError, StaleLeaseError, StoreUnavailableError } from '../../errors.ts';
import { type Connection, isDistrusted, openConnection, resultCode } from './connection.ts';
import type { Database } from './database.ts';
import { holdOwnership } from './ownership.ts';
import { WRITES, type Written } from './writes.ts';

export type WriteName = keyof typeof WRITES;

export interface WriteCall {
  id: number;
  name: WriteName;
  arguments: unknown[];
}

export type WriteAnswer =
  | { id: number; ok: true; result: unknown; changed: string[] }
  | { id: number; ok: false; failure: 'stale_lease'; runId: string }
  | { id: number; ok: false; failure: 'unavailable' | 'queue_full' | 'defect'; message: string };

/** The first message: whether the store could be opened. */
export type OpenAnswer = { opened: true } | { opened: false; message: string; nextAction: string | null };

/** SQLite's primary result codes for "not now, and not written" (https://sqlite.org/rescode.html). */
const UNAVAILABLE_CODES = new Set([5, 6, 8, 10, 11, 13, 14, 26]);

function start(): void {
  const port = parentPort;
  if (!port) throw new Error('The writer thread must be started by the store.');
  const { directory, file } = workerData as { directory: string; file: string };
  let connection: Connection;
  let ownership: { close(): void };
  try {
    ownership = holdOwnership(directory);
    connection = openConnection(file);
  } catch (error) {
    const nextAction = error instanceof Error && 'nextAction' in error ? error.nextAction : null;
    const answer: OpenAnswer = {
      opened: false,
      message: error instanceof Error ? error.message : String(error),
      nextAction: typeof nextAction === 'string' ? nextAction : null,
    };
    port.postMessage(answer);
    return;
  }
  port.postMessage({ opened: true } satisfies OpenAnswer);
  let waiting: WriteCall[] = [];
  port.on('message', (message: WriteCall[] | 'close') => {
    if (message === 'close') {
      if (waiting.length > 0) port.postMessage(commit(connection, waiting));
      connection.close();
      ownership.close();
      port.close();
      return;
    }
    if (waiting.length === 0) {
      setImmediate(() => {
        const calls = waiting;
        waiting = [];
        if (calls.length > 0) port.postMessage(commit(connection, calls));
      });
    }
    waiting = waiting.length === 0 ? message : waiting.concat(message);
  });
}

/** Runs the calls in one transaction; a call that fails undoes only itself. */
function commit(connection: Connection, calls: WriteCall[]): WriteAnswer[] {
  let database: Database | null = null;
  try {
    database = connection.use();
    database.raw.exec('BEGIN IMMEDIATE');
    const current = database;
    const answers = calls.map((call) => attempt(current, call));
    database.raw.exec('COMMIT');
    return answers;
  } catch (error) {
    rollBack(database);
    connection.failed(error);
    return calls.map((call) => failed(call, error));
  } finally {
    connection.written();
  }
}

function rollBack(database: Database | null): void {
  try {
    if (database?.raw.isTransaction) database.raw.exec('ROLLBACK');
  } catch {
    // The disk that failed the commit may fail this too; nothing of the batch is taken for written either way.
  }
}

function attempt(database: Database, call: WriteCall): WriteAnswer {
  database.run('SAVEPOINT call');
  try {
    const write = WRITES[call.name] as (database: Database, ...values: unknown[]) => Written<unknown>;
    const { result, changed } = write(database, ...call.arguments);
    database.run('RELEASE call');
    return { id: call.id, ok: true, result, changed };
  } catch (error) {
    // A full or failing disk ends the whole transaction: then nothing of this batch was written.
    if (!database.raw.isTransaction || isDistrusted(error)) throw error;
    database.raw.exec('ROLLBACK TO call; RELEASE call');
    return failed(call, error);
  }
}

function failed(call: WriteCall, error: unknown): WriteAnswer {
  if (error instanceof StaleLeaseError) {
    const [lease] = call.arguments as [{ runId: string }];
    return { id: call.id, ok: false, failure: 'stale_lease', runId: lease.runId };
  }
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof QueueFullError) return { id: call.id, ok: false, failure: 'queue_full', message };
  const unavailable = error instanceof StoreUnavailableError || UNAVAILABLE_CODES.has(resultCode(error));
  return { id: call.id, ok: false, failure: unavailable ? 'unavailable' : 'defect', message };
}

start();
