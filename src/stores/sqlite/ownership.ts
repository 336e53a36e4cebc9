/** Makes sure that only one process at a time owns a data directory. */

import { chmodSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { StoreUnavailableError } from '../../errors.ts';
import { makeFolder } from '../../make-folder.ts';
import { createPrivateFile } from './private-file.ts';

/**
 * Holds the directory until this process ends for any reason. The kernel holds the lock (it is SQLite's own lock on a
 * separate file), so there is never a stale lock to find or to remove.
 */
export function holdOwnership(directory: string): DatabaseSync {
  makeDataDirectory(directory);
  chmodSync(directory, 0o700);
  const file = path.join(directory, 'owner.lock');
  createPrivateFile(file);
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

function makeDataDirectory(directory: string): void {
  try {
    makeFolder(directory, 0o700);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new StoreUnavailableError(`The data directory ${directory} cannot be made: ${reason}.`, {
      nextAction: 'Set DATA_DIR to a folder that this user may make or write to.',
      cause,
    });
  }
}
