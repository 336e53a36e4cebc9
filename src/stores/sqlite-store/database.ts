/** Opens the SQLite file: durable settings, forward-only migrations, and prepared statements kept. */

import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { StoreUnavailableError } from '../../errors.ts';
import { createPrivateFile } from './private-file.ts';

export type Row = Record<string, SQLOutputValue>;

/** A connection with its statements prepared once each. */
export interface Database {
  raw: DatabaseSync;
  get(sql: string, ...values: SQLInputValue[]): Row | undefined;
  all(sql: string, ...values: SQLInputValue[]): Row[];
  iterate(sql: string, ...values: SQLInputValue[]): Iterable<Row>;
  run(sql: string, ...values: SQLInputValue[]): number;
  /** Set by a write after which a run can be claimed that could not before. */
  mayClaim: boolean;
  close(): void;
}

/** Below the five seconds after which a waiting request is answered 503. */
const BUSY_TIMEOUT_MS = 3_000;
/** The write-ahead log is written back when it has this many pages of 4 KiB, and cut when it is longer than this. */
const LOG_PAGES = 1_000;
const LOG_LIMIT_BYTES = 16 * 1024 * 1024;

/**
 * Opens `file` for writing, creating it (mode 0600) and its folder (0700), and brings its schema up to date.
 * WAL with synchronous=FULL: a commit is on the disk before it is acknowledged (https://sqlite.org/pragma.html#pragma_synchronous).
 */
export function openForWriting(file: string): Database {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  if (sizeOf(file) === 0 && hasBeenUsed(file)) throw lostContent(file);
  // SQLite gives its mode to -wal and -shm, too.
  createPrivateFile(file);
  const raw = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
  try {
    // Only a new file takes the first; it lets the file shrink again when old runs are deleted.
    raw.exec(`PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
      PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = ${LOG_PAGES};
      PRAGMA journal_size_limit = ${LOG_LIMIT_BYTES};`);
    // Without the marker it is a creation that was cut off, from which nobody was promised anything.
    if (schemaVersion(raw) === 0 && existsSync(markerOf(file))) throw lostContent(file);
    migrate(raw, file);
    markUsed(raw, file);
    return withStatements(raw);
  } catch (error) {
    raw.close();
    throw error;
  }
}

/** Stands beside the file once it has held something: an empty one is then a loss, not a beginning. */
function markerOf(file: string): string {
  return `${file}.created`;
}

function markUsed(raw: DatabaseSync, file: string): void {
  if (existsSync(markerOf(file))) return;
  // From here on the file itself shows that it is one of ours, also without its write-ahead log.
  raw.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  createPrivateFile(markerOf(file));
}

function hasBeenUsed(file: string): boolean {
  return existsSync(markerOf(file)) || sizeOf(`${file}-wal`) > 0;
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

function lostContent(file: string): StoreUnavailableError {
  return new StoreUnavailableError(`The store ${file} is missing or empty, although it has been in use.`, {
    nextAction: `Restore it from a backup; or, to begin anew, remove all files whose name begins with ${path.basename(file)}.`,
  });
}

/** A second connection for reads; never blocked by the writer and never blocking it. */
export function openForReading(file: string): Database {
  return withStatements(new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS }));
}

function schemaVersion(raw: DatabaseSync): number {
  return Number(raw.prepare('PRAGMA user_version').get()?.user_version ?? 0);
}

function migrate(raw: DatabaseSync, file: string): void {
  const directory = path.join(import.meta.dirname, 'migrations');
  const migrations = readdirSync(directory)
    .filter((name) => name.endsWith('.sql'))
    .sort();
  const current = schemaVersion(raw);
  if (current > migrations.length) {
    throw new StoreUnavailableError(`The store ${file} was written by a newer iac-runner.`, {
      nextAction: 'Start that version again, or restore the store from before the upgrade.',
    });
  }
  for (const [index, name] of migrations.entries()) {
    if (index < current) continue;
    raw.exec('BEGIN IMMEDIATE');
    try {
      raw.exec(readFileSync(path.join(directory, name), 'utf8'));
      raw.exec(`PRAGMA user_version = ${index + 1}`);
      raw.exec('COMMIT');
    } catch (error) {
      if (raw.isTransaction) raw.exec('ROLLBACK');
      throw error;
    }
  }
}

function withStatements(raw: DatabaseSync): Database {
  const statements = new Map<string, StatementSync>();
  function prepare(sql: string): StatementSync {
    let statement = statements.get(sql);
    if (!statement) {
      statement = raw.prepare(sql);
      statements.set(sql, statement);
    }
    return statement;
  }
  return {
    raw,
    get: (sql, ...values) => prepare(sql).get(...values.map(whole)),
    all: (sql, ...values) => prepare(sql).all(...values.map(whole)),
    iterate: (sql, ...values) => prepare(sql).iterate(...values.map(whole)),
    run: (sql, ...values) => Number(prepare(sql).run(...values.map(whole)).changes),
    mayClaim: false,
    close: () => raw.close(),
  };
}

/**
 * Every number that is stored is a time in milliseconds or a count. The tables refuse a fraction, such as a time that
 * was measured by performance.now(), so it is rounded here, in the one place that all values pass.
 */
function whole(value: SQLInputValue): SQLInputValue {
  if (typeof value !== 'number' || Number.isInteger(value)) return value;
  if (!Number.isFinite(value)) throw new TypeError(`The store was given ${value} for a number.`);
  return Math.round(value);
}
