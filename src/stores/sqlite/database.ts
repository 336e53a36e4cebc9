/** Opens the SQLite file with durable settings, runs the migrations forward only, and keeps prepared statements. */

import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { StoreUnavailableError } from '../../errors.ts';
import { bindable, placeholders, type Transaction } from '../sql/database.ts';
import { migrationsSince, SCHEMA_FILE, SCHEMA_VERSION } from '../sql/schema.ts';
import { createPrivateFile } from './private-file.ts';

/** A connection that prepares each statement once. Its promises are resolved when it returns them. */
export interface SqliteDatabase extends Transaction {
  raw: DatabaseSync;
  close(): void;
}

/** The limit is below the five seconds after which a waiting request is answered 503. */
const BUSY_TIMEOUT_MS = 3_000;
/** The write-ahead log is written back when it has this many pages of 4 KiB, and cut when it is longer than this. */
const LOG_PAGES = 1_000;
const LOG_LIMIT_BYTES = 16 * 1024 * 1024;
/** This number of free pages stays for new rows. The other free pages are given back, PAGES_AT_ONCE at a time. */
const FREE_PAGES = 10_000;
const PAGES_AT_ONCE = 1_000;

/**
 * Opens `file` for writing, creating it (mode 0600) and its folder (0700), and brings its schema up to date.
 * WAL with synchronous=FULL: a commit is on the disk before it is acknowledged (https://sqlite.org/pragma.html#pragma_synchronous).
 */
export function openForWriting(file: string): SqliteDatabase {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  if (sizeOf(file) === 0 && hasBeenUsed(file)) throw lostContent(file);
  // SQLite gives its mode to -wal and -shm, too.
  createPrivateFile(file);
  const raw = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
  try {
    // Only a new file takes `auto_vacuum`, which lets the file shrink again when old runs are deleted.
    raw.exec(`PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
      PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = ${LOG_PAGES};
      PRAGMA journal_size_limit = ${LOG_LIMIT_BYTES};`);
    // Without the marker, the creation of the file was cut off before anything was promised to anybody.
    if (schemaVersion(raw) === 0 && existsSync(markerOf(file))) throw lostContent(file);
    migrate(raw, file);
    markUsed(raw, file);
    return withStatements(raw);
  } catch (error) {
    raw.close();
    throw error;
  }
}

/**
 * Returns the path of the marker. It stands beside the file once the file has held data, so that an empty file then
 * counts as a loss.
 */
function markerOf(file: string): string {
  return `${file}.created`;
}

function markUsed(raw: DatabaseSync, file: string): void {
  if (existsSync(markerOf(file))) return;
  // From here on the file itself shows that it is a store of iac-runner, also without its write-ahead log.
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
    nextAction: `Restore it from a backup; or, to start with an empty store, remove all files whose name begins with ${path.basename(file)}.`,
  });
}

/** Opens a second connection for reads. It never waits for the writer, and the writer never waits for it. */
export function openForReading(file: string): SqliteDatabase {
  return withStatements(new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS }));
}

function schemaVersion(raw: DatabaseSync): number {
  return Number(raw.prepare('PRAGMA user_version').get()?.user_version ?? 0);
}

function migrate(raw: DatabaseSync, file: string): void {
  const current = schemaVersion(raw);
  if (current > SCHEMA_VERSION) {
    throw new StoreUnavailableError(`The store ${file} was written by a newer iac-runner.`, {
      nextAction: 'Start that version again, or restore the store from before the upgrade.',
    });
  }
  if (current === 0) {
    apply(raw, SCHEMA_FILE, SCHEMA_VERSION);
    return;
  }
  for (const { file: migration, version } of migrationsSince(current)) apply(raw, migration, version);
}

/** Runs a file of statements and notes the version in one transaction. */
function apply(raw: DatabaseSync, file: string, version: number): void {
  raw.exec('BEGIN IMMEDIATE');
  try {
    raw.exec(readFileSync(file, 'utf8'));
    raw.exec(`PRAGMA user_version = ${version}`);
    raw.exec('COMMIT');
  } catch (error) {
    if (raw.isTransaction) raw.exec('ROLLBACK');
    throw error;
  }
}

function withStatements(raw: DatabaseSync): SqliteDatabase {
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
    get: async (sql, ...values) => prepare(sql).get(...values.map(bindable)),
    all: async (sql, ...values) => prepare(sql).all(...values.map(bindable)),
    run: async (sql, ...values) => Number(prepare(sql).run(...values.map(bindable)).changes),
    now: async () => Date.now(),
    insert: async (table, rows, rest = '') => {
      const columns = Object.keys(rows[0] ?? {});
      const names = columns.map((name) => `"${name}"`).join(', ');
      const sql = `INSERT INTO ${table} (${names}) VALUES ${placeholders(columns)} ${rest}`;
      return rows.flatMap((row) => prepare(sql).all(...Object.values(row).map(bindable)));
    },
    mayClaim: false,
    close: () => raw.close(),
  };
}

/** Gives free pages at the end of the file back (https://sqlite.org/pragma.html#pragma_incremental_vacuum). */
export function shrink(raw: DatabaseSync): boolean {
  const free = freePages(raw);
  if (free <= FREE_PAGES) return false;
  raw.exec(`PRAGMA incremental_vacuum(${PAGES_AT_ONCE})`);
  return freePages(raw) < free;
}

function freePages(raw: DatabaseSync): number {
  return Number(raw.prepare('PRAGMA freelist_count').get()?.freelist_count);
}
