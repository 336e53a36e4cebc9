/** The lock `$WORKSPACE_DIR/.sync.lock`: one sync at a time works in the workspace, whoever starts it. */

import fs, { type BigIntStats } from 'node:fs';
import { lstat, readdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { describeError, orIfMissing, WorkspaceBusyError } from '../../errors.ts';
import { findHolder, type LockHolder, takeLock } from '../../git/lock-directory.ts';
import { makeFolder } from '../../make-folder.ts';
import { isAlive, processSpace, startTicksOf } from '../../process/process-table.ts';

const NAME = '.sync.lock';
const STALE_MS = 30_000;
const SIGN_MS = 5_000;
const RETRY_MS = 250;
const UNKNOWN = 'another program (a folder of that name exists and is kept fresh)';
const TAKER = 'somebody who was faster';

/**
 * proper-lockfile makes the directory and renews it. It would remove whatever is there, also what another process has
 * made since it looked, so all removing is done here.
 */
const KEEPING = { ...fs, rmdir: (_path: string, done: (error: null) => void) => done(null) };

/**
 * `folder` tells which folder was taken: after a crash somebody else may have put theirs in its place. `space` tells
 * where `pid` means this process; another container that shares the volume counts its processes by itself.
 */
const ownerSchema = z.object({
  pid: z.number().int().positive(),
  startTicks: z.string(),
  space: z.string().nullable().default(null),
  folder: z.string(),
});

type Owner = z.output<typeof ownerSchema>;

export interface SyncLockOptions {
  workspaceDir: string;
  waitMs: number;
  signal: AbortSignal;
  /** Called once when the lock is held by somebody else, with who that is. */
  onWait(holder: string): void | Promise<void>;
  /** Called when the lock was taken from us; the work must stop. */
  onLost(error: Error): void;
}

type Release = () => Promise<void>;

/**
 * Takes the lock and returns its release, which never rejects. A lock left by a dead process, and the plain file of
 * the earlier receiver when nobody holds it, are replaced. Throws WorkspaceBusyError after `waitMs`, naming the
 * holder, and when the file system refuses the lock.
 */
export async function takeSyncLock(options: SyncLockOptions): Promise<Release> {
  const lockPath = path.join(options.workspaceDir, NAME);
  await orRefused(lockPath, async () => makeFolder(options.workspaceDir));
  const takeTurn = createTurns(lockPath);
  const deadline = performance.now() + options.waitMs;
  for (let told = false; ; ) {
    const taken = await orRefused(lockPath, () => tryLock(lockPath, takeTurn, options));
    if (typeof taken !== 'string') return taken;
    if (!told && taken !== TAKER) {
      await options.onWait(taken);
      told = true;
    }
    if (performance.now() > deadline) {
      throw new WorkspaceBusyError(`The workspace lock ${lockPath} is held by ${taken}.`, {
        nextAction: 'Let it finish or end it, then retry the run.',
      });
    }
    await sleep(RETRY_MS, undefined, { signal: options.signal });
  }
}

/** At start: replaces what earlier programs left and nobody holds, so that no run has to wait for it. */
export async function clearLeftoverLock(workspaceDir: string): Promise<void> {
  const names = (await readdir(workspaceDir).catch(() => [])).filter((name) => name.startsWith(NAME));
  if (names.length === 0) return;
  const { signal } = new AbortController();
  try {
    const release = await takeSyncLock({ workspaceDir, waitMs: 0, signal, onWait() {}, onLost() {} });
    // While we hold the lock, nobody else needs anything that processes have put beside it to remove an earlier one.
    const beside = names.filter((name) => name !== NAME && name !== ownerFile(NAME));
    for (const name of beside) {
      await rm(path.join(workspaceDir, name), { recursive: true, force: true }).catch(() => undefined);
    }
    await release();
  } catch (error) {
    // A run that needs the lock says who holds it, or why it cannot be taken.
    if (!(error instanceof WorkspaceBusyError)) throw error;
  }
}

type TakeTurn = () => Promise<Release | null>;

/**
 * Of two processes that find the same leftover, the second could remove the new lock of the first. So they take turns
 * to remove it. Null while it is somebody else's turn. The turn of a process that died in it ends by itself.
 */
function createTurns(lockPath: string): TakeTurn {
  const turn = `${lockPath}.turn`;
  let other: LockHolder | null = null;
  return async () => {
    other = await findHolder(turn, other, STALE_MS);
    return other === null ? takeLock(turn, { staleMs: STALE_MS, onLost() {} }) : null;
  };
}

/** Resolves to the release, or to who holds the lock. */
async function tryLock(
  lockPath: string,
  takeTurn: TakeTurn,
  options: SyncLockOptions,
): Promise<Release | string> {
  const found = await lookAt(lockPath);
  if (found?.holder) return found.holder;
  if (found === null) return makeLock(lockPath, takeTurn, options);
  const endTurn = await takeTurn();
  if (endTurn === null) return TAKER;
  try {
    const left = await lookAt(lockPath);
    if (left?.holder) return left.holder;
    // Removes a link itself, never what it points to.
    if (left) await rm(lockPath, { recursive: true, force: true });
    return await makeLock(lockPath, takeTurn, options);
  } finally {
    await endTurn();
  }
}

async function makeLock(
  lockPath: string,
  takeTurn: TakeTurn,
  { workspaceDir, onLost: onCompromised }: SyncLockOptions,
): Promise<Release | string> {
  const { default: lockfile } = await import('proper-lockfile');
  const stop = await lockfile
    .lock(workspaceDir, {
      realpath: false,
      lockfilePath: lockPath,
      stale: STALE_MS,
      update: SIGN_MS,
      fs: KEEPING,
      onCompromised,
    })
    .catch((error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'ELOCKED') return null;
      throw error;
    });
  if (stop === null) return TAKER;
  try {
    const folder = identityOf(await lstat(lockPath, { bigint: true }));
    await writeFile(ownerFile(lockPath), JSON.stringify(ourselves(folder)), { mode: 0o600 });
    return async () => {
      // Rejects when the lock was taken from us, as onLost has said.
      await stop().catch(() => undefined);
      await removeOurs(lockPath, folder, takeTurn);
    };
  } catch (error) {
    await stop().catch(() => undefined);
    await removeLock(lockPath);
    throw error;
  }
}

/**
 * Never rejects. Somebody may just be replacing our lock, because it was not renewed for long or a clock was wrong. So we
 * remove it in a turn of ours too, and only if it is still the folder that we made.
 */
async function removeOurs(lockPath: string, folder: string, takeTurn: TakeTurn): Promise<void> {
  const isOurs = async (): Promise<boolean> => {
    const found = await lstat(lockPath, { bigint: true }).catch(orIfMissing(null));
    return found !== null && identityOf(found) === folder;
  };
  try {
    while (await isOurs()) {
      const endTurn = await takeTurn();
      if (endTurn === null) {
        await sleep(RETRY_MS);
        continue;
      }
      try {
        if (await isOurs()) await removeLock(lockPath);
      } finally {
        await endTurn();
      }
    }
  } catch {
    // On a full disk nobody gets a turn, so nobody is replacing it either.
    if (await isOurs().catch(() => false)) await removeLock(lockPath);
  }
}

/** Never rejects: an owner's file that stays means nothing without its folder, and a folder is not renewed any more. */
async function removeLock(lockPath: string): Promise<void> {
  await rm(ownerFile(lockPath), { force: true }).catch(() => undefined);
  await rmdir(lockPath)
    // Something lies in it.
    .catch(() => rm(lockPath, { recursive: true, force: true }))
    .catch(() => undefined);
}

function ourselves(folder: string): Owner {
  const { pid } = process;
  return { pid, startTicks: startTicksOf(pid) ?? '', space: processSpace(), folder };
}

/** Says of an error of the file system that it was met with the lock. */
async function orRefused<T>(lockPath: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new WorkspaceBusyError(`The workspace lock ${lockPath} cannot be taken: ${describeError(cause)}.`, {
      nextAction: 'Check the owner, the permissions and the free space of the folder, then retry the run.',
      cause,
    });
  }
}

/** proper-lockfile's directory has no room for a name, so the owner stands beside it. */
function ownerFile(lockPath: string): string {
  return `${lockPath}.owner`;
}

/** Null when nothing is there. `holder` is null for what was left by somebody who is gone. */
async function lookAt(lockPath: string): Promise<{ holder: string | null } | null> {
  const found = await lstat(lockPath, { bigint: true }).catch(orIfMissing(null));
  if (found === null) return null;
  if (found.isFile()) return { holder: await flockHolder(found.ino) };
  if (!found.isDirectory()) return { holder: null };
  const owner = await readOwner(lockPath, identityOf(found));
  // Of a process that cannot be seen from here, only the age of its lock says whether it lives.
  const isDead = owner !== null && isFromHere(owner) && !isAlive(owner);
  if (isDead || ageOf(found) > STALE_MS) return { holder: null };
  if (owner === null) return { holder: UNKNOWN };
  return { holder: `process ${owner.pid}${isFromHere(owner) ? '' : ' of another container or machine'}` };
}

function isFromHere({ space }: Owner): boolean {
  return space !== null && space === processSpace();
}

/** The inode alone may be given to the next folder; together with its birth it is this one's. */
function identityOf({ dev, ino, birthtimeNs }: BigIntStats): string {
  return `${dev}:${ino}:${birthtimeNs}`;
}

function ageOf({ mtimeMs }: BigIntStats): number {
  return Date.now() - Number(mtimeMs);
}

/** Null when nobody is known to own this folder. */
async function readOwner(lockPath: string, folder: string): Promise<Owner | null> {
  try {
    const owner = ownerSchema.parse(JSON.parse(await readFile(ownerFile(lockPath), 'utf8')));
    return owner.folder === folder ? owner : null;
  } catch {
    return null;
  }
}

/** The process with an flock on the file with this inode, from /proc/locks (proc(5)), or null. */
async function flockHolder(ino: bigint): Promise<string | null> {
  const locks = await readFile('/proc/locks', 'utf8').catch(() => '');
  for (const line of locks.split('\n')) {
    const [, pid, inode] = /^\d+: \S+\s+\S+\s+\S+\s+(\d+) [0-9a-f]+:[0-9a-f]+:(\d+) /.exec(line) ?? [];
    if (inode === String(ino)) return `process ${pid}`;
  }
  return null;
}
