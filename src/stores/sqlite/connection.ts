/** Manages the writing connection: it is opened again after an I/O error, and its log is kept small. */

import { statSync } from 'node:fs';
import { QueueFullError, StoreUnavailableError } from '../../errors.ts';
import { openForWriting, type SqliteDatabase } from './database.ts';

/** After this time without a write, the write-ahead log is written back and cut to nothing. */
const IDLE_MS = 5_000;
/** A smaller log is not worth the work. */
const SMALL_LOG_BYTES = 1024 * 1024;
/** SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_NOTADB (https://sqlite.org/rescode.html). */
const DISTRUSTED_CODES = new Set([10, 11, 26]);
/** The primary result codes for "not now, and not written". */
const UNAVAILABLE_CODES = new Set([5, 6, 8, 10, 11, 13, 14, 26]);

export interface Connection {
  /** Opens the file if it is not open. Throws the errors of the opening. */
  use(): SqliteDatabase;
  /** Call this after every failure. */
  failed(error: unknown): void;
  /** Call this after every batch. */
  written(): void;
  close(): void;
}

/** Returns SQLite's primary result code, or 0. */
function resultCode(error: unknown): number {
  return error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : 0;
}

/** Returns true for errors after which a connection may contain data that the disk does not hold. */
export function isDistrusted(error: unknown): boolean {
  return DISTRUSTED_CODES.has(resultCode(error));
}

/** Returns true if the disk or another process is the cause, and the same call may succeed later. */
export function isUnavailable(error: unknown): boolean {
  // A full queue refuses one call, not those beside it.
  if (error instanceof QueueFullError) return false;
  return error instanceof StoreUnavailableError || UNAVAILABLE_CODES.has(resultCode(error));
}

/** The next action for an error that makes the store unavailable, by its cause. */
export function adviceFor(error: unknown): string {
  if (error instanceof StoreUnavailableError && error.nextAction !== null) return error.nextAction;
  switch (resultCode(error)) {
    case 5: // SQLITE_BUSY
    case 6: // SQLITE_LOCKED
      return 'Another process holds the database: find it with `fuser -v iac-runner.db` in DATA_DIR, and end it.';
    case 8: // SQLITE_READONLY
    case 14: // SQLITE_CANTOPEN
      return 'Check the owner and permissions of DATA_DIR, and that its file system can be written.';
    case 11: // SQLITE_CORRUPT
    case 26: // SQLITE_NOTADB
      return 'Check the health of the disk under DATA_DIR, and restore iac-runner.db from a backup.';
    default:
      return 'Check the free space and health of the disk under DATA_DIR.';
  }
}

export function openConnection(file: string): Connection {
  let database: SqliteDatabase | null = openForWriting(file);
  let idle: NodeJS.Timeout | undefined;
  let isClosed = false;

  function failed(error: unknown): void {
    if (!isDistrusted(error)) return;
    // The disk may not hold what this connection has in memory, so the next call opens the file again.
    const distrusted = database;
    database = null;
    try {
      distrusted?.close();
    } catch {
      // A connection that cannot be closed is never used again.
    }
  }

  function shorten(): void {
    try {
      if (!database || logBytes(file) < SMALL_LOG_BYTES) return;
      if (!cutLog(database)) schedule();
    } catch (error) {
      failed(error);
    }
  }

  function schedule(): void {
    clearTimeout(idle);
    // The thread would not end before the timer does.
    if (!isClosed) idle = setTimeout(shorten, IDLE_MS);
  }

  return {
    use() {
      if (isClosed) throw new StoreUnavailableError('The store is closed.');
      database ??= openForWriting(file);
      return database;
    },
    failed,
    written: schedule,
    close() {
      isClosed = true;
      clearTimeout(idle);
      database?.close();
    },
  };
}

function logBytes(file: string): number {
  return statSync(`${file}-wal`, { throwIfNoEntry: false })?.size ?? 0;
}

/** Returns false if a reader blocks it. It does not wait, because writes would wait, too. */
function cutLog({ raw }: SqliteDatabase): boolean {
  const { timeout } = { timeout: 0, ...raw.prepare('PRAGMA busy_timeout').get() };
  raw.exec('PRAGMA busy_timeout = 0');
  try {
    return raw.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()?.busy === 0;
  } finally {
    raw.exec(`PRAGMA busy_timeout = ${timeout}`);
  }
}
