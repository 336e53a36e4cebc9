/**
 * A lock as a directory that holds one empty file, the holder's token. A lock is taken by renaming a directory with a
 * token to its place, which fails unless that place is free or an empty directory. A lock ends when its token is
 * removed. Each token has a name of its own, so nobody can remove a newer lock instead of the one that was judged.
 */

import { createHash, randomUUID } from 'node:crypto';
import {
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  rmdir,
  stat,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isAlive, type ProcessIdentity, startTicksOf } from '../process/process-table.ts';
import { SECOND } from '../units.ts';

/** Nobody ends the last git of a dead process, so it gets a moment to end by itself. */
const ORPHANS_MS = SECOND;
/** Signs of life in the time after which a lock is stale. */
const SIGNS = 4;

/** A holder as a waiter sees it. Ages are measured by the waiter's own clock, so no jump of a clock ends a lock. */
export interface LockHolder {
  token: string;
  signAtMs: number;
  /** When this last sign of life was first seen. */
  quietSinceMs: number;
  /** When the process was first seen to be dead. */
  deadSinceMs: number | null;
}

/**
 * Looks at the lock at `path` again; `before` is what the last look gave. Removes the token of a holder that is dead
 * or stale. Returns null if nobody holds the lock.
 */
export async function judgeHolder(
  path: string,
  before: LockHolder | null,
  staleMs: number,
): Promise<LockHolder | null> {
  const [token] = await readdir(path).catch(orIfMissing([]));
  if (token === undefined) return null;
  const found = await stat(join(path, token)).catch(orIfMissing(null));
  if (found === null) return null;
  const known = before?.token === token ? before : null;
  const isDead = await isOfDeadProcess(token);
  const now = performance.now();
  const holder: LockHolder = {
    token,
    signAtMs: found.mtimeMs,
    quietSinceMs: known?.signAtMs === found.mtimeMs ? known.quietSinceMs : now,
    deadSinceMs: isDead ? (known?.deadSinceMs ?? now) : null,
  };
  const isDeadForLong = holder.deadSinceMs !== null && now - holder.deadSinceMs >= ORPHANS_MS;
  if (!isDeadForLong && now - holder.quietSinceMs < staleMs) return holder;
  await rm(join(path, token), { force: true });
  return null;
}

export interface LockOptions {
  staleMs: number;
  /** Called when the token is gone, because another process took the lock, or when it can give no signs of life. */
  onLost(cause: Error): void;
}

/** Takes the lock at `path` and returns its release, or null if somebody else was faster. */
export async function takeLock(path: string, options: LockOptions): Promise<(() => Promise<void>) | null> {
  const token = await newToken();
  const staging = await mkdtemp(`${path}-`);
  try {
    await writeFile(join(staging, token), '', { mode: 0o600 });
    await rename(staging, path);
  } catch (error) {
    await rm(staging, { recursive: true, force: true }).catch(() => undefined);
    // The last one if a holder has cleared our directory away.
    if (['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(codeOf(error))) return null;
    throw error;
  }
  await removeStagings(path).catch(() => undefined);
  const file = join(path, token);
  const stopSigns = giveSigns(file, options);
  return async () => {
    stopSigns();
    await rm(file, { force: true })
      // Everybody would wait until the token is stale, and the error may have passed.
      .catch(() => unlink(file))
      .catch(() => undefined);
    // Fails when somebody else holds the lock by now, which is right.
    await rmdir(path).catch(() => undefined);
  };
}

/** Removes what processes left that were killed while they took the lock, and nothing of one that lives. */
async function removeStagings(path: string): Promise<void> {
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(`${basename(path)}-`)) continue;
    const staging = join(dirname(path), name);
    const [token] = await readdir(staging);
    if (token !== undefined && (await isOfDeadProcess(token)))
      await rm(join(staging, token), { force: true });
    // Fails unless it is empty. A process that was about to write its token tries again.
    await rmdir(staging).catch(() => undefined);
  }
}

/** Removes the lock `name` in `directory`, whoever holds it, and what processes left that were killed taking it. */
export async function clearLock(directory: string, name: string): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  const parts = names.filter((found) => found === name || found.startsWith(`${name}-`));
  await Promise.all(parts.map((part) => rm(join(directory, part), { recursive: true, force: true })));
}

function giveSigns(file: string, { staleMs, onLost }: LockOptions): () => void {
  let signAtMs = performance.now();
  const timer = setInterval(async () => {
    try {
      const now = new Date();
      await utimes(file, now, now);
      signAtMs = performance.now();
    } catch (error) {
      if (codeOf(error) !== 'ENOENT' && performance.now() - signAtMs < staleMs) return;
      clearInterval(timer);
      onLost(error instanceof Error ? error : new Error(String(error)));
    }
  }, staleMs / SIGNS);
  timer.unref();
  return () => clearInterval(timer);
}

/** Names the process. An empty file with a long name needs no room on a disk that is full. */
async function newToken(): Promise<string> {
  const ticks = startTicksOf(process.pid) ?? '0';
  return `${process.pid}.${ticks}.${(await thisMachine()) ?? 'unknown'}.${randomUUID()}`;
}

async function isOfDeadProcess(token: string): Promise<boolean> {
  const [pid = '', startTicks = '', machine] = token.split('.');
  const identity: ProcessIdentity = { pid: Number(pid), startTicks };
  return machine === (await thisMachine()) && !isAlive(identity);
}

let foundMachine: Promise<string | null> | null = null;
/**
 * Tells process ids of this boot, container and user apart from those of others, whose processes we may not see. Null
 * where /proc does not say it.
 */
function thisMachine(): Promise<string | null> {
  foundMachine ??= Promise.all([
    readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    readlink('/proc/self/ns/pid'),
  ])
    .then((names) =>
      createHash('sha256')
        .update([...names, process.getuid?.()].join())
        .digest('hex')
        .slice(0, 32),
    )
    .catch(() => null);
  return foundMachine;
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** For what may not be there: `value` instead of the error ENOENT. */
export function orIfMissing<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (codeOf(error) === 'ENOENT') return value;
    throw error;
  };
}
