/** The floor of free space below which nothing is begun that would fill the disk half way. */

import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { GitError } from '../errors.ts';
import { MEBIBYTE } from '../units.ts';

export interface FreeSpaceOptions {
  /** Absolute; for one that is not there yet, the nearest folder above it counts. */
  directories: readonly string[];
  floorBytes: number;
}

/** Throws GitError `disk_full` naming the first directory whose file system has less free than the floor. */
export async function requireFreeSpace({ directories, floorBytes }: FreeSpaceOptions): Promise<void> {
  for (const directory of directories) {
    const free = await freeBytes(directory);
    if (free >= floorBytes) continue;
    const [has, needs] = [free, floorBytes].map((bytes) => Math.floor(bytes / MEBIBYTE));
    throw new GitError(
      'disk_full',
      `${has} MiB are free at ${directory}, less than the ${needs} kept free.`,
      {
        nextAction: 'Free space there, or lower DISK_FLOOR_MB.',
      },
    );
  }
}

/** Throws GitError `disk_full` when the file system of a directory, as above, has less than that free. */
export async function requireRoom(directory: string, bytes: number): Promise<void> {
  const free = await freeBytes(directory);
  if (free >= bytes) return;
  const [has, needs] = [Math.floor(free / MEBIBYTE), Math.ceil(bytes / MEBIBYTE)];
  throw new GitError('disk_full', `${has} MiB are free at ${directory}, and ${needs} are needed.`, {
    nextAction: 'Free space there.',
  });
}

/** What a process without privileges may still write. */
async function freeBytes(directory: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(directory);
    return bavail * bsize;
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (!isMissing || directory === dirname(directory)) throw error;
    return freeBytes(dirname(directory));
  }
}
