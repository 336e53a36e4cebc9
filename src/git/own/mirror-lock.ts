/** One fetch of a mirror at a time. */

import { basename, dirname } from 'node:path';
import { GitError, isDiskFull } from '../../errors.ts';
import { createFolderLock, type FolderLock } from '../folder-lock.ts';
import { clearLock } from '../lock-directory.ts';
import { fileError } from '../requested/repository-directory.ts';

export type MirrorLock = FolderLock;

/** The lock stands beside `directory`, as `<directory>.lock`. `staleMs` as for any lock of a folder. */
export function createMirrorLock(options: {
  directory: string;
  waitMs: number;
  staleMs?: number;
}): MirrorLock {
  return createFolderLock({
    ...options,
    fail: (message, details) =>
      isDiskFull(details.cause)
        ? fileError('The mirror cannot be locked', details.cause)
        : new GitError('unavailable', message, details),
  });
}

/**
 * At start, by the one server of the data directory: what a killed one left is not waited for. Its gits must have
 * been ended before.
 */
export async function clearMirrorLock(directory: string): Promise<void> {
  await clearLock(dirname(directory), `${basename(directory)}.lock`);
}
