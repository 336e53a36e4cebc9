/** One fetch of a mirror at a time. */

import { rm } from 'node:fs/promises';
import { GitError } from '../errors.ts';
import { createFolderLock, type FolderLock } from './folder-lock.ts';

export type MirrorLock = FolderLock;

/** The lock stands beside `directory`, as `<directory>.lock`. A killed holder's is free after `staleMs`. */
export function createMirrorLock(options: {
  directory: string;
  waitMs: number;
  staleMs?: number;
}): MirrorLock {
  return createFolderLock({
    ...options,
    fail: (message, details) => new GitError('unavailable', message, details),
  });
}

/**
 * At start, by the one server of the data directory: what a killed one left is not waited for. Its gits must have
 * been ended before.
 */
export async function clearMirrorLock(directory: string): Promise<void> {
  await rm(`${directory}.lock`, { recursive: true, force: true });
}
