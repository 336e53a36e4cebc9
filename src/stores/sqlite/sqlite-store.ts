/** The default store: one SQLite file, which one thread writes and this thread reads. */

import path from 'node:path';
import type { RunStore } from '../../runs/run-store.ts';
import { createSqlStore } from '../sql/run-store.ts';
import { createWatchers } from '../sql/watchers.ts';
import { openReader } from './reader.ts';
import { startWriter } from './writer.ts';

export interface SqliteStoreOptions {
  /** The folder of the store. It is made with mode 0700 if it is missing. */
  directory: string;
  requestTimeoutMs?: number;
  /** The highest number of queued runs. A request for one more is refused. Default: any number. */
  queueLimit?: number;
  /** The store calls it once if it has failed for good, so that only a restart helps. */
  onFailure?: (error: Error) => void;
}

/**
 * Opens the store. Throws StoreUnavailableError if another process owns it, it cannot be read, or it was written by a
 * newer version.
 */
export async function createSqliteStore(options: SqliteStoreOptions): Promise<RunStore> {
  const { directory, requestTimeoutMs, queueLimit, onFailure } = options;
  const file = path.join(directory, 'iac-runner.db');
  const watchers = createWatchers();
  const writer = await startWriter({ directory, file }, { onChange: watchers.notify, onFailure });
  const reader = openReader(file);
  const driver = {
    write: writer.call,
    read: reader.read,
    watch: watchers.watch,
    isAlive: writer.isAlive,
    async close() {
      watchers.clear();
      await writer.close();
      reader.close();
    },
  };
  const { fleet: _alone, ...store } = createSqlStore(driver, {
    requestTimeoutMs,
    queueLimit,
    isShared: false,
  });
  return store;
}
