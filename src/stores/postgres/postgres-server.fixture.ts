/** Starts a real PostgreSQL for tests: a server on a free port, with a new database for each test. */

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import type { Row, Value } from '../sql/database.ts';
import { SCHEMA } from './connection.ts';

/** Debian keeps the programs off the PATH, in a folder for each version. */
function findPrograms(): string | null {
  const debian = '/usr/lib/postgresql';
  const versions = existsSync(debian) ? readdirSync(debian).toSorted((a, b) => Number(b) - Number(a)) : [];
  const folders = [
    ...versions.map((version) => path.join(debian, version, 'bin')),
    ...(process.env.PATH ?? '').split(':'),
  ];
  return folders.find((folder) => existsSync(path.join(folder, 'initdb'))) ?? null;
}

const programs = findPrograms();

/** The reason in the title of tests that are skipped because PostgreSQL is missing; null if it is there. */
export const withoutPostgres: string | null = programs === null ? 'postgresql is not installed' : null;

export interface PostgresServer {
  port: number;
  /** Makes an empty database and gives its address. */
  createDatabase(): Promise<string>;
  /** Kills the server as a power loss would. */
  kill(): Promise<void>;
  /** Starts it again on the same port and data. */
  start(): Promise<void>;
  /** Sends a signal to every process of the server, e.g. SIGSTOP. */
  signal(name: NodeJS.Signals): void;
  /** Returns everything in the database, as pg_dump writes it. */
  dump(url: string): string;
  /** Drops the tables that exist, and restores a dump, in one transaction. */
  restore(url: string, dump: string): void;
  remove(): Promise<void>;
}

/** Runs one statement on a connection of its own, where the names of the store's tables are known. */
export async function runSql(url: string, sql: string, ...values: Value[]): Promise<Row[]> {
  const client = new Client({ connectionString: url, options: `-c search_path=${SCHEMA}` });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Row>(sql, values)).rows;
  } finally {
    await client.end();
  }
}

/** PostgreSQL refuses to run as root, so its processes run as another user then. */
function serverUser(): { uid?: number; gid?: number } {
  if (userInfo().uid !== 0) return {};
  for (const name of ['postgres', 'nobody']) {
    try {
      const id = (flag: string) => Number(execFileSync('id', [flag, name], { encoding: 'utf8' }));
      return { uid: id('-u'), gid: id('-g') };
    } catch {
      // The next user is tried.
    }
  }
  throw new Error('No user is there that PostgreSQL can run as.');
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('The system gave no port.');
  return address.port;
}

/** `settings` are lines of postgresql.conf, such as `synchronous_commit=off`. */
export async function startPostgres(...settings: string[]): Promise<PostgresServer> {
  if (programs === null) throw new Error('PostgreSQL is not installed.');
  const program = (name: string) => path.join(programs, name);
  const user = serverUser();
  const folder = mkdtempSync(path.join(tmpdir(), 'iac-postgres-'));
  if (user.uid !== undefined && user.gid !== undefined) chownSync(folder, user.uid, user.gid);
  const data = path.join(folder, 'data');
  execFileSync(
    program('initdb'),
    ['--auth=trust', '--username=iac', '--encoding=UTF8', '--locale=C.UTF-8', '--no-sync', '-D', data],
    { ...user, cwd: folder, stdio: 'pipe' },
  );
  // Every other user needs a password.
  const access = ['host all iac 127.0.0.1/32 trust', 'host all all 127.0.0.1/32 scram-sha-256'];
  writeFileSync(path.join(data, 'pg_hba.conf'), access.map((line) => `${line}\n`).join(''));
  const port = await freePort();
  let server: ReturnType<typeof spawn> | null = null;
  let databases = 0;

  const addressOf = (database: string) => `postgres://iac@127.0.0.1:${port}/${database}`;

  async function start(): Promise<void> {
    const options = [`port=${port}`, 'listen_addresses=127.0.0.1', `unix_socket_directories=${folder}`];
    // The commit waits for the kernel and not for the disk, because the machine of a test does not lose power.
    const quick = ['wal_sync_method=fdatasync', 'max_connections=200', 'shared_buffers=32MB'];
    const flags = [...options, ...quick, ...settings].flatMap((setting) => ['-c', setting]);
    server = spawn(program('postgres'), ['-D', data, ...flags], {
      ...user,
      cwd: folder,
      stdio: ['ignore', 'ignore', 'ignore'],
    });
    for (let tries = 0; ; tries += 1) {
      try {
        await runSql(addressOf('postgres'), 'SELECT 1');
        return;
      } catch (error) {
        if (tries > 600 || server.exitCode !== null) throw error;
        await sleep(50);
      }
    }
  }

  function signal(name: NodeJS.Signals): void {
    if (server?.pid === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const { pid } = server;
    // The server is stopped first, so that it starts no other process meanwhile. Each of its processes has a session of
    // its own.
    process.kill(pid, 'SIGSTOP');
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
    for (const child of children.filter(Boolean)) {
      try {
        process.kill(Number(child), name);
      } catch {
        // The process ended meanwhile.
      }
    }
    process.kill(pid, name);
    if (name !== 'SIGSTOP') process.kill(pid, 'SIGCONT');
  }

  async function kill(): Promise<void> {
    const ended = server;
    if (!ended || ended.exitCode !== null || ended.signalCode !== null) return;
    const exited = new Promise((resolve) => ended.once('exit', resolve));
    signal('SIGKILL');
    await exited;
  }

  await start();
  return {
    port,
    async createDatabase() {
      databases += 1;
      const name = `iac_${databases}`;
      await runSql(addressOf('postgres'), `CREATE DATABASE ${name}`);
      return addressOf(name);
    },
    dump: (url) => execFileSync(program('pg_dump'), ['--clean', '--if-exists', url], { encoding: 'utf8' }),
    restore(url, dump) {
      const options = ['--quiet', '--single-transaction', '--set=ON_ERROR_STOP=1'];
      // PostgreSQL ends one of two sessions that wait for each other. If that one is psql, psql is started again.
      for (let isDone = false; !isDone; ) {
        const { status, stderr } = spawnSync(program('psql'), [...options, url], {
          input: dump,
          encoding: 'utf8',
          stdio: ['pipe', 'ignore', 'pipe'],
        });
        isDone = status === 0;
        if (!isDone && !stderr.includes('deadlock')) throw new Error(`psql failed: ${stderr}`);
      }
    },
    kill,
    start,
    signal,
    async remove() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
