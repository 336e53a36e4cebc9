/** Finds out who holds the workspace lock, from the file beside it that names its owner. */

import type { BigIntStats } from 'node:fs';
import { lstat, readFile } from 'node:fs/promises';
import { z } from 'zod';
import { orIfMissing } from '../../errors.ts';
import { isAlive, processSpace, startTicksOf } from '../../process/process-stat.ts';
import { SECOND } from '../../units.ts';

/** A lock that was not renewed for so long is held by nobody. */
export const STALE_MS = 30 * SECOND;
const UNKNOWN = 'another program (a folder of that name exists and is kept fresh)';

/**
 * `folder` identifies the folder that was taken, because another process may have replaced it after a crash. `space` says
 * where `pid` counts, because another container on the same volume has its own process ids.
 */
const ownerSchema = z.object({
  pid: z.number().int().positive(),
  startTicks: z.string(),
  space: z.string().nullable().default(null),
  folder: z.string(),
});

type Owner = z.output<typeof ownerSchema>;

/** Resolves to null if there is no lock. `holder` is null if nobody holds the lock any more. */
export async function findSyncLock(lockPath: string): Promise<{ holder: string | null } | null> {
  const found = await lstat(lockPath, { bigint: true }).catch(orIfMissing(null));
  if (found === null) return null;
  if (found.isFile()) return { holder: await flockHolder(found.ino) };
  if (!found.isDirectory()) return { holder: null };
  const owner = await readOwner(lockPath, identityOf(found));
  // Only the age of the lock shows whether a process of another container lives.
  const isDead = owner !== null && isFromHere(owner) && !isAlive(owner);
  if (isDead || ageOf(found) > STALE_MS) return { holder: null };
  if (owner === null) return { holder: UNKNOWN };
  return { holder: `process ${owner.pid}${isFromHere(owner) ? '' : ' of another container or machine'}` };
}

/** Describes this process as the owner of a lock folder. */
export function describeOwner(folder: string): Owner {
  const { pid } = process;
  return { pid, startTicks: startTicksOf(pid) ?? '', space: processSpace(), folder };
}

/** proper-lockfile's directory must be empty, so the owner's file lies beside it. */
export function ownerFile(lockPath: string): string {
  return `${lockPath}.owner`;
}

function isFromHere({ space }: Owner): boolean {
  return space !== null && space === processSpace();
}

/** The inode with its time of birth, because the next folder may get the same inode. */
export function identityOf({ dev, ino, birthtimeNs }: BigIntStats): string {
  return `${dev}:${ino}:${birthtimeNs}`;
}

function ageOf({ mtimeMs }: BigIntStats): number {
  return Date.now() - Number(mtimeMs);
}

/** Resolves to null if the owner of this folder is unknown. */
async function readOwner(lockPath: string, folder: string): Promise<Owner | null> {
  try {
    const owner = ownerSchema.parse(JSON.parse(await readFile(ownerFile(lockPath), 'utf8')));
    return owner.folder === folder ? owner : null;
  } catch {
    return null;
  }
}

/** The process that has an flock on the file with this inode, from /proc/locks (proc(5)), or null. */
async function flockHolder(ino: bigint): Promise<string | null> {
  const locks = await readFile('/proc/locks', 'utf8').catch(() => '');
  for (const line of locks.split('\n')) {
    const [, pid, inode] = /^\d+: \S+\s+\S+\s+\S+\s+(\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /.exec(line) ?? [];
    if (inode === String(ino)) return `process ${pid}`;
  }
  return null;
}
