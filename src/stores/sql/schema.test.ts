/** Checks that a new file, an upgraded file and a new database have the same tables. */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Client } from 'pg';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startPostgres, withoutPostgres } from '../postgres/postgres-server.fixture.ts';
import { createPostgresStore } from '../postgres/postgres-store.ts';
import { openForWriting } from '../sqlite/database.ts';
import { createSqliteStore } from '../sqlite/sqlite-store.ts';

const MIGRATIONS = path.join(import.meta.dirname, '../sqlite/migrations');
const MIGRATION_FILES = readdirSync(MIGRATIONS).sort();

function folder(): string {
  const made = mkdtempSync(path.join(tmpdir(), 'iac-schema-'));
  onTestFinished(() => rmSync(made, { recursive: true }));
  return made;
}

/** Each table with its columns and indexes, sorted. */
function tablesOf(file: string): Record<string, { columns: string[]; indexes: string[] }> {
  const database = new DatabaseSync(file);
  const all = (sql: string) => database.prepare(sql).all();
  const names = all("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'");
  const tables = names.map(({ name }) => {
    const columns = all(`SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info('${name}')`);
    const indexes = all(`SELECT sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = '${name}'`);
    return [
      String(name),
      {
        columns: columns.map((column) => Object.values(column).join(' ')).sort(),
        indexes: indexes.map(({ sql }) => String(sql).replaceAll(/\s+/g, ' ')).sort(),
      },
    ];
  });
  const others = all("SELECT type, name FROM sqlite_schema WHERE type IN ('trigger', 'view')");
  database.close();
  expect(others).toEqual([]);
  return Object.fromEntries(tables);
}

function newFile(): string {
  const file = path.join(folder(), 'new.db');
  openForWriting(file).close();
  return file;
}

/** Makes a file as the given number of migrations left it. */
function oldFile(version: number, fill: (database: DatabaseSync) => void = () => undefined): string {
  const file = path.join(folder(), 'iac-runner.db');
  const old = new DatabaseSync(file);
  for (const name of MIGRATION_FILES.slice(0, version)) {
    old.exec(readFileSync(path.join(MIGRATIONS, name), 'utf8'));
  }
  fill(old);
  old.exec(`PRAGMA user_version = ${version}`);
  old.close();
  return file;
}

const EARLIER_VERSIONS = MIGRATION_FILES.slice(1).map((_, index) => index + 1);

/** The group and state of a run in an old file, in the order of their ids. */
const OLD_RUNS: readonly [group: string, state: string][] = [
  ['free', 'queued'],
  ['free', 'queued'],
  ['held', 'running'],
  ['held', 'queued'],
  ['awaiting', 'awaiting_approval'],
  ['awaiting', 'queued'],
  ['put-off', 'queued'],
  ['ended', 'succeeded'],
];

function insertRuns(database: DatabaseSync): void {
  const statement = database.prepare(
    `INSERT INTO runs (id, kind, state, message, concurrency_group, coalesce, "trigger", input, attempt, chosen,
       created_at, finished_at, next_seq)
     VALUES (?, 'preview', ?, 'old', ?, 0, '{"source":"pull_request"}', '{}', ?, 0, 1, ?, 2)`,
  );
  for (const [index, [group, state]] of OLD_RUNS.entries()) {
    const attempt = state === 'queued' ? 0 : 1;
    statement.run(`run-${index}`, state, group, attempt, state === 'succeeded' ? 2 : null);
  }
  const hasTimes = database
    .prepare("SELECT 1 FROM pragma_table_info('runs') WHERE name = 'not_before'")
    .get();
  if (hasTimes)
    database.exec("UPDATE runs SET not_before = 9000000000000 WHERE concurrency_group = 'put-off'");
  else database.exec("DELETE FROM runs WHERE concurrency_group = 'put-off'");
  const columns = database.prepare("SELECT name FROM pragma_table_info('claimable')").all();
  const needs = columns.map(({ name }) => name).find((name) => name === 'labels' || name === 'needs');
  if (needs !== undefined) {
    database.exec(`INSERT INTO claimable (number, concurrency_group, kind, ${needs}, priority)
      SELECT number, concurrency_group, kind, ${needs}, priority FROM runs WHERE id = 'run-0'`);
  }
  // Since version 9 code counts.
  if (needs === 'needs') {
    database.exec(`UPDATE counters SET value = (SELECT count(*) FROM runs WHERE state = 'queued')
      WHERE name = 'queued_runs'`);
  }
}

/** The log of a run with three steps, as version 11 left it. */
const OLD_LOG = [
  ...['a', 'ab', 'é/c'].map(
    (id, position) =>
      `INSERT INTO steps (run, id, position, wave, state, message)
        SELECT number, '${id}', ${position}, 0, 'succeeded', '' FROM runs WHERE id = 'run-7'`,
  ),
  ...[
    [1, 'run.queued', '{}'],
    [2, 'step.log', '{"step":"a","stream":"stdout","lines":["1","2","3"]}'],
    [5, 'step.started', '{"step":"ab"}'],
    [6, 'step.log', '{"step":"ab","stream":"stdout","lines":["other"]}'],
    [7, 'step.started', '{"step":"é/c"}'],
    [8, 'step.log', '{"step":"a","stream":"stderr","lines":["4","5"]}'],
  ].map(
    ([seq, type, data]) =>
      `INSERT INTO events (run, seq, at, type, data)
        SELECT number, ${seq}, 1, '${type}', '${data}' FROM runs WHERE id = 'run-7'`,
  ),
  "UPDATE runs SET next_seq = 10 WHERE id = 'run-7'",
];

const OLD_TOTALS = {
  totals: new Map([
    ['a', 5],
    ['ab', 1],
    ['é/c', 0],
  ]),
  through: 9,
};

/** Reads the version, and every column and index, from PostgreSQL. */
const POSTGRES_TABLES = `SELECT 'version' AS name, version::text AS text FROM schema_version
  UNION ALL SELECT table_name || '.' || column_name, concat(data_type, ' ', is_nullable, ' ', collation_name)
    FROM information_schema.columns WHERE table_schema = 'iac_runner'
  UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'iac_runner' ORDER BY name, text`;

/** PostgreSQL was first used with version 9. */
const BACK_TO_VERSION_9 = `DROP TABLE sessions, audit, log_chunks, held_runs, holds;
  DROP INDEX runs_unapproved, runs_held;
  CREATE INDEX runs_held ON runs (concurrency_group) WHERE state IN ('running', 'awaiting_approval');
  UPDATE schema_version SET version = 9`;

describe('The tables', () => {
  it('of an upgraded file are those of a new one, from every earlier version', () => {
    const expected = tablesOf(newFile());
    for (const version of EARLIER_VERSIONS) {
      const file = oldFile(version);
      openForWriting(file).close();
      expect(tablesOf(file), `from version ${version}`).toEqual(expected);
    }
  });

  it.each(EARLIER_VERSIONS)(
    'of version %i keep their runs, and only the right ones are claimed',
    async (version) => {
      const file = oldFile(version, insertRuns);
      const store = await createSqliteStore({ directory: path.dirname(file) });
      onTestFinished(() => store.close());
      const found = new Map((await store.runs({ limit: 20 })).map((run) => [run.id, run]));
      for (const [index, [concurrencyGroup, state]] of OLD_RUNS.entries()) {
        // The first version had no runs that wait for a time.
        if (concurrencyGroup === 'put-off' && version === 1) continue;
        expect(found.get(`run-${index}`)).toMatchObject({ concurrencyGroup, state });
      }
      const database = new DatabaseSync(file, { readOnly: true });
      const counted = database.prepare("SELECT value FROM counters WHERE name = 'queued_runs'").get();
      database.close();
      expect(counted?.value).toBe([...found.values()].filter(({ state }) => state === 'queued').length);
      const next = () => store.claim({ owner: 'worker:1', leaseMs: 60_000 });
      expect((await next())?.run.id).toBe('run-0');
      expect(await next()).toBeNull();
    },
  );

  it('of version 11 get the index of their logs', async () => {
    const file = oldFile(11, (database) => {
      insertRuns(database);
      for (const sql of OLD_LOG) database.exec(sql);
    });
    const store = await createSqliteStore({ directory: path.dirname(file) });
    onTestFinished(() => store.close());
    expect(await store.logTotals('run-7')).toEqual(OLD_TOTALS);
    const chunks = await store.logChunks('run-7', { step: 'a', from: 3, to: 5, characters: 1_000 });
    expect(chunks.map(({ firstLine, seq, lines }) => [firstLine, seq, lines])).toEqual([
      [1, 2, ['1', '2', '3']],
      [4, 8, ['4', '5']],
    ]);
  });

  it.skipIf(withoutPostgres !== null)(
    `in PostgreSQL are brought forward${withoutPostgres ? ` (skipped: ${withoutPostgres})` : ''}`,
    async () => {
      const server = await startPostgres();
      onTestFinished(() => server.remove());
      const url = await server.createDatabase();
      await (await createPostgresStore({ url })).close();
      const client = new Client({ connectionString: url });
      await client.connect();
      await client.query('SET search_path TO iac_runner');
      const read = async () => (await client.query(POSTGRES_TABLES)).rows;
      const expected = await read();
      await client.query(BACK_TO_VERSION_9);
      await client.query(`INSERT INTO runs (id, kind, state, message, concurrency_group, coalesce, "trigger", input,
        attempt, chosen, created_at, finished_at, next_seq)
        VALUES ('run-7', 'preview', 'succeeded', '', 'g', 0, '{}', '{}', 1, 0, 1, 2, 10)`);
      for (const sql of OLD_LOG) await client.query(sql);
      const store = await createPostgresStore({ url });
      expect(await store.holds()).toEqual([]);
      expect(await store.logTotals('run-7')).toEqual(OLD_TOTALS);
      await store.close();
      expect(await read()).toEqual(expected);
      await client.end();
    },
  );

  it.skipIf(withoutPostgres !== null)(
    `in PostgreSQL have the same columns${withoutPostgres ? ` (skipped: ${withoutPostgres})` : ''}`,
    async () => {
      const server = await startPostgres();
      onTestFinished(() => server.remove());
      const url = await server.createDatabase();
      await (await createPostgresStore({ url })).close();
      const client = new Client({ connectionString: url });
      await client.connect();
      const { rows } = await client.query<{ table_name: string; column_name: string }>(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'iac_runner'",
      );
      await client.end();
      const own = ['schema_version', 'last_commits'];
      const found = rows.filter(({ table_name }) => !own.includes(table_name));
      const expected = Object.entries(tablesOf(newFile())).flatMap(([table, { columns }]) =>
        columns.map((column) => `${table} ${column.split(' ')[0]}`),
      );
      expect(found.map((row) => `${row.table_name} ${row.column_name}`).sort()).toEqual(expected.sort());
    },
  );
});
