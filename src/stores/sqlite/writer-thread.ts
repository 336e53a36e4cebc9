/**
 * The thread that owns the writing connection. All calls that arrive while one commit waits for the disk share
 * the next commit (group commit), and a slow disk never blocks the thread that answers requests.
 */

import { parentPort, workerData } from 'node:worker_threads';
import { NonceSpentError, QueueFullError, StaleLeaseError } from '../../errors.ts';
import { grouped, perform, type WriteName } from '../sql/writes.ts';
import { adviceFor, type Connection, isUnavailable, openConnection } from './connection.ts';
import { type SqliteDatabase, shrink } from './database.ts';
import { holdOwnership } from './ownership.ts';
import { putBack, type Turn, take } from './turn.ts';

export interface WriteCall {
  id: number;
  name: WriteName;
  values: unknown[];
  /** This is null if the caller waits without a limit. */
  turn: Turn | null;
}

export type WriteAnswer =
  | { id: number; ok: true; result: unknown; changed: string[]; mayClaim: boolean }
  | { id: number; ok: false; failure: 'stale_lease'; runId: string }
  | { id: number; ok: false; failure: 'unavailable'; message: string; nextAction: string }
  | { id: number; ok: false; failure: 'queue_full' | 'nonce_spent' | 'defect'; message: string };

/** The first message says whether the store could be opened. */
export type OpenAnswer = { opened: true } | { opened: false; message: string; nextAction: string | null };

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
  const commitWaiting = async (): Promise<void> => {
    const calls = waiting;
    waiting = [];
    if (calls.length > 0) port.postMessage(await commit(connection, calls));
  };
  port.on('message', async (message: WriteCall[] | 'close') => {
    if (message === 'close') {
      await commitWaiting();
      connection.close();
      ownership.close();
      port.close();
      return;
    }
    // All promises of the connection are resolved already, so a commit ends before the next message is taken.
    if (waiting.length === 0) setImmediate(commitWaiting);
    waiting = waiting.length === 0 ? message : waiting.concat(message);
  });
}

/**
 * Runs the calls in one transaction. If one of them fails, which is rare, nothing of the transaction is kept, and each
 * call runs again in a transaction of its own, so that a failure undoes only its own call. Savepoints would cost every
 * call a journal.
 */
async function commit(connection: Connection, calls: WriteCall[]): Promise<WriteAnswer[]> {
  let database: SqliteDatabase | null = null;
  try {
    database = connection.use();
    database.raw.exec('BEGIN IMMEDIATE');
    const answers: WriteAnswer[] = [];
    for (const group of grouped(calls)) {
      // The calls are taken only now: their callers may have given up while the lock was waited for.
      const taken = group.filter(({ turn }) => turn === null || take(turn));
      answers.push(...(await write(database, taken)));
    }
    database.raw.exec('COMMIT');
    return answers;
  } catch (error) {
    rollBack(database);
    connection.failed(error);
    for (const { turn } of calls) if (turn) putBack(turn);
    // If the disk or another process refuses a write now, it refuses each call.
    if (calls.length === 1 || isUnavailable(error)) return calls.map((call) => failed(call, error));
    const answers: WriteAnswer[] = [];
    for (const call of calls) answers.push(...(await commit(connection, [call])));
    return answers;
  } finally {
    connection.written();
  }
}

async function write(database: SqliteDatabase, calls: readonly WriteCall[]): Promise<WriteAnswer[]> {
  const outcomes = await perform(database, calls);
  return calls.flatMap((call, index) => {
    const outcome = outcomes[index];
    if (outcome === undefined) return [];
    if (outcome instanceof Error) return failed(call, outcome);
    const { result, changed, mayClaim } = outcome;
    const isMore = call.name === 'prune' && shrink(database.raw);
    return { id: call.id, ok: true, result: isMore || result, changed, mayClaim };
  });
}

function rollBack(database: SqliteDatabase | null): void {
  try {
    if (database?.raw.isTransaction) database.raw.exec('ROLLBACK');
  } catch {
    // The disk that failed the commit may fail this, too. In both cases no call of the batch counts as written.
  }
}

function failed(call: WriteCall, error: unknown): WriteAnswer {
  if (error instanceof StaleLeaseError) {
    const [lease] = call.values as [{ runId: string }];
    return { id: call.id, ok: false, failure: 'stale_lease', runId: lease.runId };
  }
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof QueueFullError) return { id: call.id, ok: false, failure: 'queue_full', message };
  if (error instanceof NonceSpentError) return { id: call.id, ok: false, failure: 'nonce_spent', message };
  if (!isUnavailable(error)) return { id: call.id, ok: false, failure: 'defect', message };
  return { id: call.id, ok: false, failure: 'unavailable', message, nextAction: adviceFor(error) };
}

start();
