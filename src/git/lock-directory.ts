/**
 * A lock as a directory that holds one empty file, the holder's token. A lock is taken by renaming a directory with a
 * token to its place, which fails unless that place is free or an empty directory. A lock ends when its token is
 * removed. Each token has a name of its own, so nobody can remove a newer lock instead of the one that was looked at.
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
import { errorCode, orIfMissing } from '../errors.ts';
import { isAlive, type ProcessIdentity, startTicksOf } from '../process/process-stat.ts';
import { SECOND } from '../units.ts';

/** The last git of a dead process gets this time to end by itself, because nobody ends it. */
const ORPHANS_MS = SECOND;
/** The number of signs of life that a holder gives in the time after which a lock is stale. */
const SIGNS = 4;

/** A holder as a waiter sees it. Ages are measured by the clock of the waiter, so a clock that jumps ends no lock. */
export interface LockHolder {
  token: string;
  signAtMs: number;
  /** When this last sign of life was first seen. */
  quietSinceMs: number;
  /** When the process was first seen to be dead. */
  deadSinceMs: number | null;
}

/**
 * Returns the holder of the lock at `path`, or null if nobody holds it. `before` is the result of the last look. Removes
 * the token of a holder that is dead or stale.
 */
export async function findHolder(
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
  /** Called if the token is missing, because another process took the lock, or if no sign of life can be given. */
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
    // ENOENT: a holder has removed the staging directory.
    if (['ENOTEMPTY', 'EEXIST', 'ENOENT'].includes(errorCode(error))) return null;
    throw error;
  }
  await removeStagings(path).catch(() => undefined);
  const file = join(path, token);
  const stopSigns = giveSigns(file, options);
  return async () => {
    stopSigns();
    await rm(file, { force: true })
      // The error may have passed. With the token left, everybody would wait until it is stale.
      .catch(() => unlink(file))
      .catch(() => undefined);
    // This fails if somebody else holds the lock by now, which is right.
    await rmdir(path).catch(() => undefined);
  };
}

/** Removes the staging directories of processes that were killed while they took the lock, not those of live ones. */
async function removeStagings(path: string): Promise<void> {
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(`${basename(path)}-`)) continue;
    const staging = join(dirname(path), name);
    const [token] = await readdir(staging);
    if (token !== undefined && (await isOfDeadProcess(token)))
      await rm(join(staging, token), { force: true });
    // This fails unless the directory is empty. A process that was about to write its token tries again.
    await rmdir(staging).catch(() => undefined);
  }
}

/** Removes the lock `name` in `directory`, regardless of its holder, and the staging directories beside it. */
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
      if (errorCode(error) !== 'ENOENT' && performance.now() - signAtMs < staleMs) return;
      clearInterval(timer);
      onLost(error instanceof Error ? error : new Error(String(error)));
    }
  }, staleMs / SIGNS);
  timer.unref();
  return () => clearInterval(timer);
}

/** The token names the process. An empty file with a long name needs no space on a full disk. */
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
 * Identifies this boot, container and user. Processes of others may be invisible here, and may have the same ids. Null
 * if /proc does not say it.
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
