/** Checks at a start that the database can keep the promises, and makes or checks the tables. */

import { readFileSync } from 'node:fs';
import type { Client } from 'pg';
import { StoreUnavailableError } from '../../errors.ts';
import { migrationsSince, SCHEMA_FILE, SCHEMA_VERSION } from '../sql/schema.ts';
import { isUnavailable, SCHEMA, shownAddress, unavailable } from './connection.ts';
import { toPostgresSchema } from './dialect.ts';

const OLDEST_VERSION = 140_000;
/** Only one process at a time makes the tables. The lock may be any number that nobody else uses in this database. */
const MIGRATION_LOCK = 7_262_017;

/** Resolves to one sentence for each setting that puts the promises at risk. Throws if the database cannot be used. */
export async function inspectServer(client: Client, url: string): Promise<string[]> {
  const address = shownAddress(url);
  // The settings are read as the server has them, because this session has set its own.
  const { rows } = await client.query<{ name: string; value: string }>(
    `SELECT name, coalesce(reset_val, setting) AS value FROM pg_settings
      WHERE name IN ('server_version_num', 'server_version', 'server_encoding', 'fsync', 'full_page_writes',
        'synchronous_commit')
     UNION ALL SELECT 'replica', pg_is_in_recovery()::text`,
  );
  const value = (name: string) => rows.find((row) => row.name === name)?.value ?? '';
  refuseUnfit(value, address);
  const warnings: string[] = [];
  if (value('synchronous_commit') === 'off') {
    warnings.push(
      'PostgreSQL is set to synchronous_commit = off. iac-runner sets it to on for its own connections; a proxy that takes this away would lose what was accepted.',
    );
  }
  if (value('full_page_writes') === 'off') {
    warnings.push('PostgreSQL is set to full_page_writes = off: a power loss can damage its files.');
  }
  return warnings;
}

/** Throws if a setting of the server makes the promises impossible. */
function refuseUnfit(value: (name: string) => string, address: string): void {
  const problems: [isUnfit: boolean, message: string, nextAction: string][] = [
    [
      Number(value('server_version_num')) < OLDEST_VERSION,
      `PostgreSQL at ${address} is version ${value('server_version')}.`,
      'Use version 14 or newer.',
    ],
    [
      value('replica') === 'true',
      `PostgreSQL at ${address} is a replica, which only reads.`,
      'Point STORE_URL to the primary.',
    ],
    [
      value('server_encoding') !== 'UTF8',
      `The database at ${address} has the encoding ${value('server_encoding')}.`,
      "Make one with ENCODING 'UTF8': a log may hold any character.",
    ],
    [
      value('fsync') === 'off',
      `PostgreSQL at ${address} does not write to the disk before it answers (fsync = off).`,
      'Set fsync = on: otherwise a power loss takes with it what was accepted.',
    ],
  ];
  for (const [isUnfit, message, nextAction] of problems) {
    if (isUnfit) throw new StoreUnavailableError(message, { nextAction });
  }
}

/** Makes the tables of a new store, or brings those of an older version forward. Refuses those of a newer version. */
export async function prepareTables(client: Client, url: string): Promise<void> {
  await client.query('BEGIN');
  try {
    await client.query(`SELECT pg_advisory_xact_lock(${MIGRATION_LOCK})`);
    const { rows } = await client.query<{ known: string | null }>(
      `SELECT to_regclass('${SCHEMA}.schema_version')::text AS known`,
    );
    if (rows[0]?.known) await bringForward(client, url);
    else await makeTables(client);
    // A process that has ended does not need to know whether its last commit was made.
    await client.query("DELETE FROM last_commits WHERE at < now() - interval '7 days'");
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw isUnavailable(error) ? unavailable('prepared', error) : error;
  }
}

async function bringForward(client: Client, url: string): Promise<void> {
  const { rows } = await client.query<{ version: number }>('SELECT version FROM schema_version');
  const current = rows[0]?.version ?? 0;
  if (current > SCHEMA_VERSION) {
    throw new StoreUnavailableError(
      `The store in PostgreSQL at ${shownAddress(url)} was written by a newer iac-runner.`,
      { nextAction: 'Start that version again, or restore the database from before the upgrade.' },
    );
  }
  // The first version in PostgreSQL was 9, so the earlier files, which only SQLite understands, are never applied.
  for (const { file, version } of migrationsSince(current)) {
    await client.query(toPostgresSchema(readFileSync(file, 'utf8')));
    await client.query('UPDATE schema_version SET version = $1', [version]);
  }
}

async function makeTables(client: Client): Promise<void> {
  const { rows } = await client.query(`SELECT 1 WHERE to_regnamespace('${SCHEMA}') IS NULL`);
  if (rows.length > 0) await client.query(`CREATE SCHEMA ${SCHEMA}`);
  await client.query(toPostgresSchema(readFileSync(SCHEMA_FILE, 'utf8')));
  await client.query(
    'CREATE TABLE last_commits (instance TEXT PRIMARY KEY, id TEXT NOT NULL, at TIMESTAMPTZ NOT NULL)',
  );
  await client.query('CREATE TABLE schema_version (version BIGINT NOT NULL)');
  await client.query(`INSERT INTO schema_version VALUES (${SCHEMA_VERSION})`);
}
