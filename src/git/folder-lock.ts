/** Lets one caller at a time change a folder. Callers in this process wait in a queue; processes use a lock directory. */

import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorCode } from '../errors.ts';
import { SECOND } from '../units.ts';
import { findHolder, type LockHolder, takeLock } from './lock-directory.ts';

const POLL_MS = 200;

export interface FolderLock {
  /** Runs `work` alone. Its signal is aborted by `signal`, and if another process takes the lock. */
  hold<T>(signal: AbortSignal | undefined, work: (held: AbortSignal) => Promise<T>): Promise<T>;
}

export interface FolderLockOptions {
  /** The lock is beside it, as `<directory>.lock`. */
  directory: string;
  /** How long to wait for another process. */
  waitMs: number;
  /** A holder that gives no sign of life for this time loses the lock. Default 10 s. A dead one on this machine, sooner. */
  staleMs?: number | undefined;
  /** Makes the error for a caller that cannot get the lock, or has lost it. */
  fail(message: string, options: { nextAction: string; cause: unknown }): Error;
}

/** A caller that aborts while it waits leaves the queue at once. */
export function createFolderLock(options: FolderLockOptions): FolderLock {
  let queue: Promise<unknown> = Promise.resolve();

  async function underLock<T>(
    signal: AbortSignal | undefined,
    work: (held: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const lost = new AbortController();
    const release = await acquire(options, signal, (cause) => {
      lost.abort(
        options.fail(`The lock ${options.directory}.lock was taken by another process.`, {
          nextAction: 'Retry. If that does not help, look for a second worker with the same directories.',
          cause,
        }),
      );
    });
    try {
      return await work(signal ? AbortSignal.any([signal, lost.signal]) : lost.signal);
    } finally {
      await release();
    }
  }

  return {
    hold(signal, work) {
      const before = queue;
      const turn = before.then(() => underLock(signal, work));
      queue = turn.catch(() => {});
      return signal ? Promise.race([turn, leaving(before, signal)]) : turn;
    },
  };
}

/** Rejects if the signal aborts before `before` is done; settles in no other case. */
function leaving(before: Promise<unknown>, signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const leave = (): void => reject(signal.reason);
    if (signal.aborted) leave();
    signal.addEventListener('abort', leave, { once: true });
    void before.then(() => signal.removeEventListener('abort', leave));
  });
}

async function acquire(
  options: FolderLockOptions,
  signal: AbortSignal | undefined,
  onLost: (cause: Error) => void,
): Promise<() => Promise<void>> {
  const path = `${options.directory}.lock`;
  const { staleMs = 10 * SECOND } = options;
  const deadline = performance.now() + options.waitMs;
  const nextAction = 'Look for a second worker; when there is none, remove it.';
  let holder: LockHolder | null = null;
  for (;;) {
    signal?.throwIfAborted();
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o755 });
      holder = await findHolder(path, holder, staleMs);
      const release = holder === null ? await takeLock(path, { staleMs, onLost }) : null;
      if (release !== null) return release;
    } catch (error) {
      const code = errorCode(error) || 'unknown';
      throw options.fail(`The lock ${path} cannot be taken: ${code}.`, { nextAction, cause: error });
    }
    if (performance.now() > deadline) {
      throw options.fail(`The lock ${path} is still held by another process.`, { nextAction, cause: holder });
    }
    await sleep(POLL_MS, undefined, signal ? { signal } : {});
  }
}
