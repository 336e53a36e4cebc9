/** Checks free space before work starts that would fill the disk half way. */

import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { GitError, orIfMissing } from '../errors.ts';
import { MEBIBYTE } from '../units.ts';

export interface FreeSpaceOptions {
  /** Absolute. For a directory that does not exist yet, the nearest folder above it counts. */
  directories: readonly string[];
  floorBytes: number;
}

/** Throws GitError `disk_full` that names the first directory whose file system has less free space than the floor. */
export async function requireFreeSpace({ directories, floorBytes }: FreeSpaceOptions): Promise<void> {
  for (const directory of directories) {
    const free = await freeBytes(directory);
    if (free >= floorBytes) continue;
    const [has, needs] = [free, floorBytes].map((bytes) => Math.floor(bytes / MEBIBYTE));
    throw new GitError(
      'disk_full',
      `${has} MiB are free at ${directory}, less than the ${needs} kept free.`,
      { nextAction: 'Free space there, or lower DISK_FLOOR_MB.' },
    );
  }
}

/** Throws GitError `disk_full` if the file system of `directory` has less free space than `bytes`. */
export async function requireSpaceFor(directory: string, bytes: number): Promise<void> {
  const free = await freeBytes(directory);
  if (free >= bytes) return;
  const [has, needs] = [Math.floor(free / MEBIBYTE), Math.ceil(bytes / MEBIBYTE)];
  throw new GitError('disk_full', `${has} MiB are free at ${directory}, and ${needs} are needed.`, {
    nextAction: 'Free space there.',
  });
}

/** Returns how much a process without privileges may still write. */
async function freeBytes(directory: string): Promise<number> {
  const found = await statfs(directory).catch(orIfMissing(null));
  return found === null ? freeBytes(dirname(directory)) : found.bavail * found.bsize;
}
