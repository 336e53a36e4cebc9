/** Every way to a store leads to the same tables: a new file, an upgraded one, a new database. */

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Client } from 'pg';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startPostgres, withoutPostgres } from '../postgres/postgres-server.fixture.ts';
import { createPostgresStore } from '../postgres/postgres-store.ts';
import { openForWriting } from '../sqlite/database.ts';

const MIGRATIONS = path.join(import.meta.dirname, '../sqlite/migrations');

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

describe('The tables', () => {
  it('of an upgraded file are those of a new one, from every earlier version', () => {
    const migrations = readdirSync(MIGRATIONS).sort();
    const expected = tablesOf(newFile());
    for (let version = 1; version < migrations.length; version += 1) {
      const file = path.join(folder(), 'old.db');
      const old = new DatabaseSync(file);
      for (const name of migrations.slice(0, version)) {
        old.exec(readFileSync(path.join(MIGRATIONS, name), 'utf8'));
      }
      old.exec(`PRAGMA user_version = ${version}`);
      old.close();
      openForWriting(file).close();
      expect(tablesOf(file), `from version ${version}`).toEqual(expected);
    }
  });

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
