/** Keeps a bare mirror whole: one writer at a time, built beside its place, rebuilt when git finds it damaged. */

import { mkdir, mkdtemp, readdir, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { describeError, GitError } from '../../errors.ts';
import { gitFailure } from '../failure.ts';
import type { Git } from '../git.ts';
import { fileError, isOurDirectory, remove } from '../requested/repository-directory.ts';
import type { MirrorLock } from './mirror-lock.ts';

/** More packs than this are merged; every fetch with news leaves one. */
const MAX_PACKS = 40;

/** Brings the mirror at `directory`, which may be empty, up to date. `held` is aborted when the lock is lost. */
export type MirrorWork<T> = (directory: string, held: AbortSignal) => Promise<T>;

export interface MirrorLog {
  warn(fields: Record<string, unknown>, message: string): void;
}

export interface MirrorKeeper {
  /** Works on the mirror; from nothing when it is missing or the work finds it damaged. */
  update<T>(work: MirrorWork<T>, signal?: AbortSignal): Promise<T>;
  /** Works from nothing; then the result takes the mirror's place. */
  rebuild<T>(work: MirrorWork<T>, signal?: AbortSignal): Promise<T>;
  /** For what only reads: damage that shows when an object is read heals here by `work`, once per call. */
  healing<T>(operation: () => Promise<T>, work: MirrorWork<unknown>, signal?: AbortSignal): Promise<T>;
}

export interface MirrorKeeperOptions {
  /** Absolute; its parent is made. */
  directory: string;
  lock: MirrorLock;
  log: MirrorLog;
  /** Throws when the disk is too full to begin with anything. */
  requireSpace?: (() => Promise<void>) | undefined;
}

export function createMirrorKeeper({
  directory,
  lock,
  log,
  requireSpace,
}: MirrorKeeperOptions): MirrorKeeper {
  async function guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof Error && 'syscall' in error)
        throw fileError(`The mirror ${directory} failed`, error);
      throw error;
    }
  }

  async function makeRoom(): Promise<void> {
    await removeLeftovers(directory);
    await requireSpace?.();
  }

  /** Beside the mirror first: what is there stays until its successor is whole. */
  async function build<T>(work: MirrorWork<T>, held: AbortSignal): Promise<T> {
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

  function warn(error: unknown): void {
    log.warn({ directory, problem: describeError(error) }, 'The mirror is damaged and is rebuilt');
  }

  return {
    update(work, signal) {
      return lock.hold(signal, (held) =>
        guarded(async () => {
          await makeRoom();
          if (!(await isOurDirectory(directory))) return build(work, held);
          try {
            return await work(directory, held);
          } catch (error) {
            if (!isDamage(error)) throw error;
            warn(error);
            return build(work, held);
          }
        }),
      );
    },
    rebuild(work, signal) {
      return lock.hold(signal, (held) =>
        guarded(async () => {
          await makeRoom();
          return build(work, held);
        }),
      );
    },
    async healing(operation, work, signal) {
      try {
        return await operation();
      } catch (error) {
        if (!isDamage(error)) throw error;
      }
      return lock.hold(signal, async (held) => {
        try {
          // Reads take no lock: this one may only have met a mirror that was being rebuilt.
          return await operation();
        } catch (error) {
          if (!isDamage(error)) throw error;
          warn(error);
          await guarded(() => build(work, held));
          return operation();
        }
      });
    },
  };
}

export function isDamage(error: unknown): boolean {
  return error instanceof GitError && error.kind === 'broken';
}

/** Keeps the number of packs small. Nothing is ever dropped, as a workspace may still stand on an old commit. */
export async function mergePacks(
  git: Git,
  directory: string,
  log: MirrorLog,
  held: AbortSignal,
): Promise<void> {
  const packs = (await readdir(join(directory, 'objects/pack'))).filter((name) => name.endsWith('.pack'));
  if (packs.length <= MAX_PACKS) return;
  const { exitCode, stderr } = await git.run(['repack', '--geometric=2', '-d', '-q'], {
    gitDirectory: directory,
    signal: held,
  });
  if (exitCode === 0) return;
  const problem = gitFailure(`Merging the packs of ${directory} failed`, stderr).message;
  log.warn({ directory, problem }, 'The packs of the mirror could not be merged');
}

/** Half-built mirrors of killed processes; whoever holds the lock knows that nobody works on them. */
async function removeLeftovers(directory: string): Promise<void> {
  const parent = dirname(directory);
  await mkdir(parent, { recursive: true });
  const name = basename(directory);
  for (const sibling of await readdir(parent)) {
    if (sibling.startsWith(`${name}.new-`) || sibling.startsWith(`${name}.old-`))
      await remove(join(parent, sibling));
  }
}
