/** Keeps a bare mirror undamaged. One process at a time writes it, and a new mirror replaces one that git finds damaged. */

import { mkdir, mkdtemp, readdir, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { describeError, GitError, isDiskFull } from '../../errors.ts';
import { MINUTE } from '../../units.ts';
import { gitFailure } from '../failure.ts';
import { createFolderLock, type FolderLock } from '../folder-lock.ts';
import type { RepositoryGit } from '../git.ts';
import { clearLock } from '../lock-directory.ts';
import { fileError, isOurDirectory, remove, withFileErrors } from '../requested/repository-directory.ts';

/** More packs than this are merged. Every fetch that brings something leaves one. */
const MAX_PACKS = 40;

/** Brings the mirror at `directory`, which may be empty, up to date. `held` is aborted if the lock is lost. */
export type MirrorWork<T> = (directory: string, held: AbortSignal) => Promise<T>;

export interface MirrorLog {
  warn(fields: Record<string, unknown>, message: string): void;
}

/** `hold` runs any other work that nobody may do to the mirror at the same time. */
export interface MirrorKeeper extends FolderLock {
  /** Works on the mirror. Starts from nothing if the mirror is missing, or the work finds it damaged. */
  update<T>(work: MirrorWork<T>, signal?: AbortSignal): Promise<T>;
  /** Works from nothing; the result then takes the place of the mirror. */
  rebuild<T>(work: MirrorWork<T>, signal?: AbortSignal): Promise<T>;
  /** Runs an operation that only reads. If it finds damage, `work` rebuilds the mirror, once for each call. */
  healing<T>(operation: () => Promise<T>, work: MirrorWork<unknown>, signal?: AbortSignal): Promise<T>;
}

export interface MirrorKeeperOptions {
  /** Absolute; its parent is created. */
  directory: string;
  log: MirrorLog;
  /** Throws if the disk is too full to start anything. */
  requireSpace?: (() => Promise<void>) | undefined;
  /** How long to wait for another process. Default 10 min. */
  lockWaitMs?: number | undefined;
  /** After how long the lock of a killed process is free. Default 10 s, the least is 2 s. */
  lockStaleMs?: number | undefined;
}

export function createMirrorKeeper(options: MirrorKeeperOptions): MirrorKeeper {
  const { directory, log } = options;
  const lock = createMirrorLock(options);

  /** If the mirror is damaged, warns and works with a new one. Throws any other error. */
  function buildAfter<T>(error: unknown, work: MirrorWork<T>, held: AbortSignal): Promise<T> {
    if (!isDamage(error)) throw error;
    log.warn({ directory, problem: describeError(error) }, 'The mirror is damaged and is rebuilt');
    return build(directory, work, held);
  }

  function change<T>(signal: AbortSignal | undefined, work: (held: AbortSignal) => Promise<T>): Promise<T> {
    return lock.hold(signal, (held) => withFileErrors(`The mirror ${directory} failed`, () => work(held)));
  }

  async function prepare(): Promise<void> {
    await removeLeftovers(directory);
    await options.requireSpace?.();
  }

  return {
    hold: lock.hold,
    update: (work, signal) =>
      change(signal, async (held) => {
        await prepare();
        if (!(await isOurDirectory(directory))) return build(directory, work, held);
        return work(directory, held).catch((error: unknown) => buildAfter(error, work, held));
      }),
    rebuild: (work, signal) =>
      change(signal, async (held) => {
        await prepare();
        return build(directory, work, held);
      }),
    async healing(operation, work, signal) {
      try {
        return await operation();
      } catch (error) {
        if (!isDamage(error)) throw error;
      }
      return lock.hold(signal, async (held) => {
        try {
          // Reads take no lock, so this one may only have met a mirror that was being rebuilt.
          return await operation();
        } catch (error) {
          if (!isDamage(error)) throw error;
          await withFileErrors(`The mirror ${directory} failed`, () => buildAfter(error, work, held));
          return operation();
        }
      });
    },
  };
}

function createMirrorLock({ directory, lockWaitMs, lockStaleMs }: MirrorKeeperOptions): FolderLock {
  return createFolderLock({
    directory,
    waitMs: lockWaitMs ?? 10 * MINUTE,
    staleMs: lockStaleMs,
    fail: (message, details) =>
      isDiskFull(details.cause)
        ? fileError('The mirror cannot be locked', details.cause)
        : new GitError('unavailable', message, details),
  });
}

/** Builds the successor beside the mirror, which stays until the successor is whole. */
async function build<T>(directory: string, work: MirrorWork<T>, held: AbortSignal): Promise<T> {
  const successor = await mkdtemp(`${directory}.new-`);
  try {
    const result = await work(successor, held);
    held.throwIfAborted();
    const previous = await mkdtemp(`${directory}.old-`);
    if (await isOurDirectory(directory)) await rename(directory, previous);
    await rename(successor, directory);
    await remove(previous);
    return result;
  } catch (error) {
    await remove(successor);
    throw error;
  }
}

export function isDamage(error: unknown): boolean {
  return error instanceof GitError && error.kind === 'broken';
}

/** Keeps the number of packs small. Nothing is ever dropped, because a workspace may still be at an old commit. */
export async function mergePacks({ directory, run }: RepositoryGit, log: MirrorLog): Promise<void> {
  const packs = (await readdir(join(directory, 'objects/pack'))).filter((name) => name.endsWith('.pack'));
  if (packs.length <= MAX_PACKS) return;
  const { exitCode, stderr } = await run(['repack', '--geometric=2', '-d', '-q']);
  if (exitCode === 0) return;
  const problem = gitFailure(`Merging the packs of ${directory} failed`, stderr).message;
  log.warn({ directory, problem }, 'The packs of the mirror could not be merged');
}

/**
 * Removes the lock that a killed server left, so that nobody waits for it. Only the one server of the data directory may
 * call it, at its start, after the gits of the killed server were ended.
 */
export async function clearMirrorLock(directory: string): Promise<void> {
  await clearLock(dirname(directory), `${basename(directory)}.lock`);
}

/** Removes the half-built mirrors of killed processes. The holder of the lock knows that nobody works on them. */
async function removeLeftovers(directory: string): Promise<void> {
  const parent = dirname(directory);
  await mkdir(parent, { recursive: true });
  const name = basename(directory);
  for (const sibling of await readdir(parent)) {
    if (sibling.startsWith(`${name}.new-`) || sibling.startsWith(`${name}.old-`))
      await remove(join(parent, sibling));
  }
}
