/** One process at a time owns a data directory. */

import { chmodSync, closeSync, mkdirSync, openSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { StoreUnavailableError } from '../../errors.ts';

/**
 * Holds the directory until this process ends, in whatever way. The lock is the kernel's (SQLite's own file
 * lock on a file of its own), so there is never a stale one to judge or to remove.
 */
export function holdOwnership(directory: string): DatabaseSync {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, 0o700);
  const file = path.join(directory, 'owner.lock');
  closeSync(openSync(file, 'a', 0o600));
  const lock = new DatabaseSync(file, { timeout: 0 });
  try {
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE;');
    return lock;
  } catch (error) {
    lock.close();
    throw new StoreUnavailableError(`Another iac-runner already uses the data directory ${directory}.`, {
      nextAction: 'Stop it, or give this one a DATA_DIR of its own.',
      cause: error,
    });
  }
}
