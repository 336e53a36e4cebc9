/** Opens the SQLite file: durable settings, forward-only migrations, and prepared statements kept. */

import { closeSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { StoreUnavailableError } from '../../errors.ts';

export type Row = Record<string, SQLOutputValue>;

/** A connection with its statements prepared once each. */
export interface Database {
  raw: DatabaseSync;
  get(sql: string, ...values: SQLInputValue[]): Row | undefined;
  all(sql: string, ...values: SQLInputValue[]): Row[];
  iterate(sql: string, ...values: SQLInputValue[]): Iterable<Row>;
  run(sql: string, ...values: SQLInputValue[]): number;
  close(): void;
}

/** Below the five seconds after which a waiting request is answered 503. */
const BUSY_TIMEOUT_MS = 3_000;

/**
 * Opens `file` for writing, creating it (mode 0600) and its folder (0700), and brings its schema up to date.
 * WAL with synchronous=FULL: a commit is on the disk before it is acknowledged (https://sqlite.org/pragma.html#pragma_synchronous).
 */
export function openForWriting(file: string): Database {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  // The file's mode is inherited by -wal and -shm.
  closeSync(openSync(file, 'a', 0o600));
  const raw = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
  raw.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;');
  migrate(raw, file);
  return withStatements(raw);
}

/** A second connection for reads; never blocked by the writer and never blocking it. */
export function openForReading(file: string): Database {
  return withStatements(new DatabaseSync(file, { readOnly: true, timeout: BUSY_TIMEOUT_MS }));
}

function migrate(raw: DatabaseSync, file: string): void {
  const directory = path.join(import.meta.dirname, 'migrations');
  const migrations = readdirSync(directory)
    .filter((name) => name.endsWith('.sql'))
    .sort();
  const current = Number(raw.prepare('PRAGMA user_version').get()?.user_version ?? 0);
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
    get: (sql, ...values) => prepare(sql).get(...values),
    all: (sql, ...values) => prepare(sql).all(...values),
    iterate: (sql, ...values) => prepare(sql).iterate(...values),
    run: (sql, ...values) => Number(prepare(sql).run(...values).changes),
    close: () => raw.close(),
  };
}
