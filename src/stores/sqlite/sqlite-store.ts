/** The default store: one SQLite file, written by one thread, read here. */

import path from 'node:path';
import type { RunStore } from '../../runs/run-store.ts';
import { createSqlStore } from '../sql/run-store.ts';
import { createWatchers } from '../sql/watchers.ts';
import { openReader } from './reader.ts';
import { startWriter } from './writer.ts';

export interface SqliteStoreOptions {
  /** Folder of the store, made with mode 0700 when missing. */
  directory: string;
  requestTimeoutMs?: number;
  /** Queued runs at most; a request for one more is refused. Default: any number. */
  queueLimit?: number;
  /** Called once when the store has failed for good: only a new start helps. */
  onFailure?: (error: Error) => void;
}

/** Opens the store, or throws StoreUnavailableError: owned by another process, unreadable, or newer. */
export async function createSqliteStore(options: SqliteStoreOptions): Promise<RunStore> {
  const { directory, requestTimeoutMs, queueLimit, onFailure } = options;
  const file = path.join(directory, 'iac-runner.db');
  const watchers = createWatchers();
  const writer = await startWriter({ directory, file }, { onChange: watchers.tell, onFailure });
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
