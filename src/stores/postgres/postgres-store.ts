/** The store for several machines: one PostgreSQL database, to which all of them write. */

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
  /** The address: postgres://, with user, password and the name of the database. */
  url: string;
  requestTimeoutMs?: number;
  /** The highest number of queued runs. A request for one more is refused. Default: any number. */
  queueLimit?: number;
  /** The tools that this machine has, each named by `toolName`. Null: it takes deployments by any tool. */
  tools?: () => Promise<readonly string[] | null>;
  /** The store calls it at the start with one sentence for each loss that this database may cause. */
  onWarning?: (message: string) => void;
}

/**
 * Opens the store. Throws StoreUnavailableError if the database cannot be reached, refuses access, or was written by a
 * newer version.
 */
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
    for (const runId of runs) watchers.notify(runId, mayClaim);
  };
  const news = await followNews(url, instance, onChange);
  const writer = startWriter(url, instance, onChange);
  const reader = openReader(url);
  const driver = {
    write: writer.write,
    read: reader.read,
    watch: watchers.watch,
    // The connection comes back by itself.
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
