/** Creates the files that SQLite then opens, so that only their owner can read them. */

import { closeSync, openSync } from 'node:fs';

/**
 * Creates `file` with mode 0600 unless it exists. A file that exists is never opened: closing it would drop every lock
 * that SQLite holds on it in this process (https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_).
 */
export function createPrivateFile(file: string): void {
  try {
    closeSync(openSync(file, 'wx', 0o600));
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}
