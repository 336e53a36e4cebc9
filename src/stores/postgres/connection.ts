/** Makes connections to the database, and classifies their errors. */

import type { Socket } from 'node:net';
import { Client, types } from 'pg';
import { StoreUnavailableError, StoreUnreachableError } from '../../errors.ts';
import { bindable, type Row, type Transaction, type Value } from '../sql/database.ts';
import { toPostgres } from './dialect.ts';

/** The tables stand in a schema of their own, so that the database may hold other things. */
export const SCHEMA = 'iac_runner';

const CONNECT_TIMEOUT_MS = 5_000;
/** A statement ends with an error after this time; the database then says so itself. */
const STATEMENT_TIMEOUT_MS = 20_000;
/** If the database does not even report that error, the connection is given up after this time. */
const ANSWER_TIMEOUT_MS = 25_000;
/** A machine that was paused in a transaction holds up the others until the database ends its session. */
const IDLE_IN_TRANSACTION_MS = 5_000;

const INT8 = 20;

/**
 * The settings of each connection. A commit is acknowledged when it is on the disk, even if the database's default
 * differs (https://www.postgresql.org/docs/current/runtime-config-wal.html#GUC-SYNCHRONOUS-COMMIT). No statement is
 * compiled, because that takes a hundred times as long as a statement of ours, and the writer would often do it: a
 * sequential scan that it cannot avoid counts as very expensive there.
 */
const SETTINGS = [
  `SET search_path TO ${SCHEMA}`,
  'SET synchronous_commit TO on',
  'SET jit TO off',
  `SET statement_timeout TO ${STATEMENT_TIMEOUT_MS}`,
  `SET idle_in_transaction_session_timeout TO ${IDLE_IN_TRANSACTION_MS}`,
].join('; ');

/** Connects, or throws StoreUnavailableError. `onEnd` is called once when an open connection has ended. */
export async function connect(
  url: string,
  onEnd: (client: Client) => void = () => undefined,
): Promise<Client> {
  const client = new Client({
    connectionString: url,
    application_name: 'iac-runner',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
    keepAlive: true,
    // Statements that do not depend on each other's results are sent at once.
    pipeline: true,
    types: {
      // Every number of the store is a count or a time in milliseconds, which a double holds exactly.
      getTypeParser: (oid: number, format?: 'text' | 'binary') =>
        oid === INT8 && format !== 'binary' ? Number : types.getTypeParser(oid, format),
    },
  });
  // Without a listener, the loss of an idle connection would end the process.
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query(SETTINGS);
    client.once('end', () => onEnd(client));
    return client;
  } catch (error) {
    drop(client);
    throw unavailable('reached', error);
  }
}

/** Ends a connection without waiting for the database, which may be away. */
export function drop(client: Client): void {
  client.end().catch(() => undefined);
  // `end` waits for queries that are under way, which a stalled database never answers. The types lack the connection.
  const { connection } = client as unknown as { connection: { stream: Socket } };
  connection.stream.destroy();
}

export function statementsOf(client: Client): Omit<Transaction, 'now' | 'mayClaim'> {
  async function query(sql: string, values: Value[]): Promise<{ rows: Row[]; rowCount: number | null }> {
    const text = toPostgres(sql);
    return client.query<Row>({ name: nameOf(text), text, values: values.map(bindable) });
  }
  return {
    get: async (sql, ...values) => (await query(sql, values)).rows[0],
    all: async (sql, ...values) => (await query(sql, values)).rows,
    run: async (sql, ...values) => (await query(sql, values)).rowCount ?? 0,
    async insert(table, rows, rest = '') {
      const [first] = rows;
      if (!first) return [];
      const columns = Object.keys(first).map((name) => `"${name}"`);
      // This is one statement for any number of rows, so that it is planned once. The table gives the type of each
      // column.
      const sql = `INSERT INTO ${table} (${columns}) SELECT ${columns} FROM json_populate_recordset(NULL::${table}, ?) ${rest}`;
      const bound = rows.map((row) =>
        Object.fromEntries(Object.entries(row).map(([name, value]) => [name, bindable(value)])),
      );
      return (await query(sql, [JSON.stringify(bound)])).rows;
    },
  };
}

/** Milliseconds since the epoch, by the clock of the database. */
export async function readClock(client: Client): Promise<number> {
  const { rows } = await client.query<{ now: number }>(
    'SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now',
  );
  return Number(rows[0]?.now);
}

const names = new Map<string, string>();

/** Names a statement, so that the database plans it once for each connection. */
function nameOf(text: string): string {
  const name = names.get(text) ?? `s${names.size}`;
  names.set(text, name);
  return name;
}

/**
 * Returns the five characters by which PostgreSQL names an error, or null if the error does not come from the database.
 */
function sqlState(error: unknown): string | null {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return /^[0-9A-Z]{5}$/.test(code) && 'severity' in (error as object) ? code : null;
}

/**
 * Classes of errors after which the same call may succeed later: connection, rights, resources, locks, an operator,
 * the system, damaged data (https://www.postgresql.org/docs/current/errcodes-appendix.html).
 */
const UNAVAILABLE = /^(08|25006|25P03|28|3D|40|42501|53|55|57|58|XX00[12])/;

/**
 * Returns true if the database or the connection to it is the cause. An error without a name comes from the connection.
 */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof StoreUnavailableError) return true;
  const state = sqlState(error);
  if (state !== null) return UNAVAILABLE.test(state);
  return error instanceof Error && isFromConnection(error);
}

/** Returns true if the connection has ended or cannot be used any more, so that the next call needs another one. */
export function isConnectionLost(error: unknown): boolean {
  const state = sqlState(error);
  if (state !== null) return /^(08|25006|25P03|57P|58)/.test(state);
  return error instanceof Error && isFromConnection(error);
}

function isFromConnection(error: Error): boolean {
  return 'syscall' in error || /connection|timeout|closed|not queryable|socket/i.test(error.message);
}

/** `did` is the failed action, as in "The database cannot be reached". */
export function unavailable(
  did: 'reached' | 'prepared' | 'read' | 'written',
  error: unknown,
): StoreUnavailableError {
  if (error instanceof StoreUnavailableError) return error;
  const reason = error instanceof Error ? error.message || String(error) : String(error);
  const state = sqlState(error);
  // The database is not there, is starting or stopping, or has no place for another connection.
  const Problem =
    state === null || /^(08|57P|53300)/.test(state) ? StoreUnreachableError : StoreUnavailableError;
  return new Problem(`The database cannot be ${did}: ${reason}.`, {
    nextAction: adviceFor(state),
    cause: error,
  });
}

function adviceFor(state: string | null): string {
  if (state === null) return 'Check that PostgreSQL runs and can be reached at STORE_URL from this machine.';
  if (state.startsWith('28')) return 'Check the user and the password in STORE_URL.';
  if (state.startsWith('3D')) return 'Create the database that STORE_URL names, or name another one.';
  if (state === '42501') return 'Let the user of STORE_URL create a schema in its database.';
  if (state === '53100') return 'Free space on the disk of the database.';
  if (state === '53300') return 'Raise max_connections of the database; each process takes six connections.';
  if (state === '25006') return 'Point STORE_URL to the primary: this database only reads.';
  return `Look into the log of the database; the code of the error is ${state}.`;
}

/** Returns the address without its password, for logs. */
export function shownAddress(url: string): string {
  const { hostname, port, pathname } = new URL(url);
  return `${hostname}:${port || 5432}${pathname}`;
}
