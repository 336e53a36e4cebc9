/** One fetch of a mirror at a time: a queue in this process, a lock directory between processes. */

import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import lockfile from 'proper-lockfile';
import { GitError } from '../errors.ts';

const SECOND = 1000;
const POLL_MS = 200;

export interface MirrorLock {
  /** Runs `work` alone. Its signal is aborted by `signal`, and when another process took the lock from us. */
  hold<T>(signal: AbortSignal | undefined, work: (held: AbortSignal) => Promise<T>): Promise<T>;
}

/** The lock stands beside `directory`, as `<directory>.lock`. A killed holder's is free after `staleMs`. */
export function createMirrorLock(options: {
  directory: string;
  waitMs: number;
  staleMs?: number;
}): MirrorLock {
  let queue: Promise<unknown> = Promise.resolve();

  async function underLock<T>(
    signal: AbortSignal | undefined,
    work: (held: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const lost = new AbortController();
    const release = await acquire(options, signal, (cause) => {
      lost.abort(
        new GitError('unavailable', `The lock ${options.directory}.lock was taken by another process.`, {
          nextAction: 'Retry; if it stays, look for a second worker with the same directories.',
          cause,
        }),
      );
    });
    try {
      return await work(signal ? AbortSignal.any([signal, lost.signal]) : lost.signal);
    } finally {
      // Releasing a lock that was lost is an error we have already told.
      await release().catch(() => {});
    }
  }

  return {
    hold(signal, work) {
      const turn = queue.then(() => underLock(signal, work));
      queue = turn.catch(() => {});
      return turn;
    },
  };
}

/**
 * At start, by the one server of the data directory: what a killed one left is not waited for. Its gits must have
 * been ended before.
 */
export async function clearMirrorLock(directory: string): Promise<void> {
  await rm(`${directory}.lock`, { recursive: true, force: true });
}

async function acquire(
  options: { directory: string; waitMs: number; staleMs?: number },
  signal: AbortSignal | undefined,
  onCompromised: (cause: Error) => void,
): Promise<() => Promise<void>> {
  const path = `${options.directory}.lock`;
  const deadline = Date.now() + options.waitMs;
  await mkdir(dirname(options.directory), { recursive: true, mode: 0o755 });
  for (;;) {
    signal?.throwIfAborted();
    try {
      return await lockfile.lock(options.directory, {
        realpath: false,
        lockfilePath: path,
        stale: options.staleMs ?? 10 * SECOND,
        onCompromised,
      });
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
      if (code !== 'ELOCKED') throw lockError(`The lock ${path} cannot be taken: ${code}.`, error);
      if (Date.now() > deadline) throw lockError(`The lock ${path} stayed with another process.`, error);
    }
    await sleep(POLL_MS, undefined, signal ? { signal } : {});
  }
}

function lockError(message: string, cause: unknown): GitError {
  return new GitError('unavailable', message, {
    nextAction: 'Look for a second worker; when there is none, remove it.',
    cause,
  });
}
