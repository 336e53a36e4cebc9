/** The store for more than one machine: one PostgreSQL, which all of them write to. */

import { randomUUID } from 'node:crypto';
import type { Fleet } from '../../runs/fleet.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { createSqlStore } from '../sql/run-store.ts';
import { createWatchers } from '../sql/watchers.ts';
import { connect, drop } from './connection.ts';
import { type Change, followNews } from './news.ts';
import { inspectServer, prepareTables } from './prepare.ts';
import { openReader } from './reader.ts';
import { startWriter } from './writer.ts';

export interface PostgresStoreOptions {
  /** postgres://, with user, password and the name of the database. */
  url: string;
  requestTimeoutMs?: number;
  /** Queued runs at most; a request for one more is refused. Default: any number. */
  queueLimit?: number;
  /** The tools that this machine has, each as of `toolName`; null if it takes deployments by any. */
  tools?: () => Promise<readonly string[] | null>;
  /** Hears at the start what this database may lose; one sentence each. */
  onWarning?: (message: string) => void;
}

/** Opens the store, or throws StoreUnavailableError: not reached, refused, or written by a newer version. */
export async function createPostgresStore(
  options: PostgresStoreOptions,
): Promise<RunStore & { fleet: Fleet }> {
  const { url, requestTimeoutMs, queueLimit, tools, onWarning } = options;
  const client = await connect(url);
  try {
    for (const warning of await inspectServer(client, url)) onWarning?.(warning);
    await prepareTables(client, url);
  } finally {
    drop(client);
  }
  const watchers = createWatchers();
  const instance = randomUUID();
  const onChange = ({ runs, mayClaim }: Change) => {
    for (const runId of runs) watchers.tell(runId, mayClaim);
  };
  const news = await followNews(url, instance, onChange);
  const writer = startWriter(url, instance, onChange);
  const reader = openReader(url);
  const driver = {
    write: writer.write,
    read: reader.read,
    watch: watchers.watch,
    // It comes back by itself.
    isAlive: () => true,
    async close() {
      watchers.clear();
      news.stop();
      await writer.close();
      await reader.close();
    },
  };
  return createSqlStore(driver, { requestTimeoutMs, queueLimit, tools, isShared: true });
}
