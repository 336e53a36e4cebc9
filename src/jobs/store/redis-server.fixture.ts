/** For tests: a redis-server with its own port and folder, which can be killed and started again. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Redis } from 'ioredis';

export interface RedisServer {
  url: string;
  port: number;
  /** Holds dump.rdb and appendonlydir. */
  directory: string;
  /** A plain client that any test may misuse. */
  client(): Redis;
  pid(): number;
  /** Sends SIGKILL, to act like a power loss. */
  kill(): Promise<void>;
  /** Sends SHUTDOWN NOSAVE. Only the append-only file, if there is one, keeps the data. */
  shutDown(): Promise<void>;
  /** Starts it again on the same port and folder. */
  start(...options: string[]): Promise<void>;
  /** Ends it and removes the folder. */
  remove(): Promise<void>;
}

/** Returns false if redis-server is not installed. */
export function hasRedisServer(): boolean {
  try {
    execFileSync('redis-server', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** `options` are words of its command line, for example `--appendonly`, `yes`. */
export async function startRedisServer(...options: string[]): Promise<RedisServer> {
  const port = await freePort();
  const directory = mkdtempSync(path.join(tmpdir(), 'iac-redis-'));
  const clients: Redis[] = [];
  let server: ChildProcess | null = null;

  async function start(...others: string[]): Promise<void> {
    const common = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', ''];
    server = spawn('redis-server', [...common, ...options, ...others], { stdio: 'ignore' });
    const probe = new Redis(port, '127.0.0.1', { retryStrategy: () => 20, maxRetriesPerRequest: null });
    probe.on('error', () => undefined);
    // A server with a password refuses, and that is an answer too.
    await probe.ping().catch(() => undefined);
    probe.disconnect();
  }

  async function kill(): Promise<void> {
    if (!server || server.exitCode !== null || server.signalCode !== null) return;
    const exited = once(server, 'exit');
    server.kill('SIGKILL');
    await exited;
  }

  async function shutDown(): Promise<void> {
    if (!server) return;
    const exited = once(server, 'exit');
    const last = new Redis(port, '127.0.0.1', { retryStrategy: () => null });
    // The server answers by closing the connection.
    await last.shutdown('NOSAVE').catch(() => undefined);
    await exited;
    last.disconnect();
  }

  await start();
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    directory,
    client() {
      const client = new Redis(port, '127.0.0.1');
      client.on('error', () => undefined);
      clients.push(client);
      return client;
    },
    pid: () => server?.pid ?? 0,
    kill,
    shutDown,
    start,
    async remove() {
      for (const client of clients) client.disconnect();
      await kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  if (address === null || typeof address === 'string') throw new Error('No port.');
  return address.port;
}
