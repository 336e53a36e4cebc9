/** The lock beside a workspace, such as `$WORKSPACE_DIR/.sync.lock`, which lets only one sync at a time work there. */

import fs from 'node:fs';
import { lstat, readdir, rm, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError, errorCode, orIfMissing, WorkspaceBusyError } from '../../errors.ts';
import { findHolder, type LockHolder, takeLock } from '../../git/lock-directory.ts';
import { makeFolder } from '../../make-folder.ts';
import { SECOND } from '../../units.ts';
import { describeOwner, findSyncLock, identityOf, ownerFile, STALE_MS } from './sync-lock-owner.ts';

const SIGN_MS = 5 * SECOND;
const RETRY_MS = 250;
const TAKER = 'another process that was faster';

/**
 * proper-lockfile makes the directory and renews it. It would also remove a lock that another process has just made, so
 * it gets an `rmdir` that does nothing, and this file removes all locks.
 */
const KEEPING = { ...fs, rmdir: (_path: string, done: (error: null) => void) => done(null) };

interface SyncLockOptions {
  /** Absolute. Its folder is created. */
  lockPath: string;
  waitMs: number;
  signal: AbortSignal;
  /** Called once with the holder if somebody else holds the lock. */
  onWait(holder: string): void | Promise<void>;
  /** Called if another process has taken the lock. The work must stop. */
  onLost(error: Error): void;
}

type Release = () => Promise<void>;

/**
 * Takes the lock and returns its release, which never rejects. Replaces the lock of a dead process, and the plain file of
 * the earlier receiver if nobody holds it. Throws WorkspaceBusyError after `waitMs`, with the holder, and if the file
 * system refuses the lock.
 */
export async function takeSyncLock(options: SyncLockOptions): Promise<Release> {
  const { lockPath } = options;
  await orRefused(lockPath, async () => makeFolder(path.dirname(lockPath)));
  const takeTurn = createTurns(lockPath);
  const deadline = performance.now() + options.waitMs;
  for (let isReported = false; ; ) {
    const taken = await orRefused(lockPath, () => tryLock(lockPath, takeTurn, options));
    if (typeof taken !== 'string') return taken;
    if (!isReported && taken !== TAKER) {
      await options.onWait(taken);
      isReported = true;
    }
    if (performance.now() > deadline) {
      throw new WorkspaceBusyError(`The workspace lock ${lockPath} is held by ${taken}.`, {
        nextAction: 'Let it finish or end it, then retry the run.',
      });
    }
    await sleep(RETRY_MS, undefined, { signal: options.signal });
  }
}

/** Removes leftover locks that nobody holds, so that no run has to wait for them. Called at the start of the server. */
export async function clearLeftoverLock(lockPath: string): Promise<void> {
  const folder = path.dirname(lockPath);
  const own = path.basename(lockPath);
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.startsWith(own));
  if (names.length === 0) return;
  const { signal } = new AbortController();
  try {
    const release = await takeSyncLock({ lockPath, waitMs: 0, signal, onWait() {}, onLost() {} });
    // While this process holds the lock, nobody needs the files that other processes have put beside it.
    const beside = names.filter((name) => name !== own && name !== ownerFile(own));
    for (const name of beside) {
      await rm(path.join(folder, name), { recursive: true, force: true }).catch(() => undefined);
    }
    await release();
  } catch (error) {
    // The next run reports the problem.
    if (!(error instanceof WorkspaceBusyError)) throw error;
  }
}

type TakeTurn = () => Promise<Release | null>;

/**
 * If two processes find the same leftover, the second one could remove the new lock of the first. So they take turns to
 * remove it. The turn is itself a lock. Resolves to null while another process has its turn. The turn of a process that
 * died ends by itself.
 */
function createTurns(lockPath: string): TakeTurn {
  const turn = `${lockPath}.turn`;
  let other: LockHolder | null = null;
  return async () => {
    other = await findHolder(turn, other, STALE_MS);
    return other === null ? takeLock(turn, { staleMs: STALE_MS, onLost() {} }) : null;
  };
}

/** Resolves to the release, or to the holder of the lock. */
async function tryLock(
  lockPath: string,
  takeTurn: TakeTurn,
  options: SyncLockOptions,
): Promise<Release | string> {
  const found = await findSyncLock(lockPath);
  if (found?.holder) return found.holder;
  if (found === null) return makeLock(lockPath, takeTurn, options);
  const endTurn = await takeTurn();
  if (endTurn === null) return TAKER;
  try {
    const left = await findSyncLock(lockPath);
    if (left?.holder) return left.holder;
    // If it is a link, only the link is removed.
    if (left) await rm(lockPath, { recursive: true, force: true });
    return await makeLock(lockPath, takeTurn, options);
  } finally {
    await endTurn();
  }
}

async function makeLock(
  lockPath: string,
  takeTurn: TakeTurn,
  { onLost: onCompromised }: SyncLockOptions,
): Promise<Release | string> {
  const { default: lockfile } = await import('proper-lockfile');
  const stop = await lockfile
    .lock(lockPath, {
      realpath: false,
      lockfilePath: lockPath,
      stale: STALE_MS,
      update: SIGN_MS,
      fs: KEEPING,
      onCompromised,
    })
    .catch((error: unknown) => {
      if (errorCode(error) === 'ELOCKED') return null;
      throw error;
    });
  if (stop === null) return TAKER;
  try {
    const folder = identityOf(await lstat(lockPath, { bigint: true }));
    await writeFile(ownerFile(lockPath), JSON.stringify(describeOwner(folder)), { mode: 0o600 });
    return async () => {
      // It rejects if another process has taken the lock. onLost has reported that.
      await stop().catch(() => undefined);
      await removeOwnLock(lockPath, folder, takeTurn);
    };
  } catch (error) {
    await stop().catch(() => undefined);
    await removeLock(lockPath);
    throw error;
  }
}

/**
 * Never rejects. Another process may be replacing this lock now, because it was not renewed for long or a clock was wrong.
 * So this process takes a turn too, and removes the lock only if it is still the same folder.
 */
async function removeOwnLock(lockPath: string, folder: string, takeTurn: TakeTurn): Promise<void> {
  const isOwn = async (): Promise<boolean> => {
    const found = await lstat(lockPath, { bigint: true }).catch(orIfMissing(null));
    return found !== null && identityOf(found) === folder;
  };
  try {
    while (await isOwn()) {
      const endTurn = await takeTurn();
      if (endTurn === null) {
        await sleep(RETRY_MS);
        continue;
      }
      try {
        if (await isOwn()) await removeLock(lockPath);
        return;
      } finally {
        await endTurn();
      }
    }
  } catch {
    // Without a turn, for example on a full disk, no other process can be replacing the lock either.
    if (await isOwn().catch(() => false)) await removeLock(lockPath);
  }
}

/** Never rejects. The owner's file means nothing without the folder, and a folder that is not renewed becomes stale. */
async function removeLock(lockPath: string): Promise<void> {
  await rm(ownerFile(lockPath), { force: true }).catch(() => undefined);
  await rmdir(lockPath)
    // The folder is not empty.
    .catch(() => rm(lockPath, { recursive: true, force: true }))
    .catch(() => undefined);
}

/** Turns an error of the file system into a WorkspaceBusyError that names the lock. */
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
