/** The bare clone of the operator's repository: fetched under a lock, rebuilt when damaged, then read. */

import { mkdir, mkdtemp, readdir, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ConfigError, describeError, GitError } from '../errors.ts';
import { gitFailure } from './failure.ts';
import { FETCH_FLAGS, type Git } from './git.ts';
import { tips } from './history.ts';
import { createMirrorLock } from './mirror-lock.ts';
import { fileError, isOurDirectory, prepareMirror, readCommitId, remove } from './repository-directory.ts';
import { createReader, type RepositoryReader } from './repository-reader.ts';
import { isSigned } from './signature.ts';

export type { TreeEntry } from './trees.ts';

/** More packs than this are merged; every fetch with news leaves one. */
const MAX_PACKS = 40;

export interface Mirror extends RepositoryReader {
  directory: string;
  /**
   * Fetches the branch, also when it was forced back, and builds the mirror when it is missing or damaged.
   * Throws GitError: `unavailable` when the remote or the directory cannot be used, `disk_full`, or `broken` when
   * also a rebuilt mirror is damaged.
   */
  fetch(signal?: AbortSignal): Promise<{ head: string }>;
  /** Like fetch, but from nothing: for whoever met damage in what the mirror holds. */
  rebuild(signal?: AbortSignal): Promise<{ head: string }>;
  /** The branch head as last fetched; null before the first fetch. */
  head(): Promise<string | null>;
  /** Those of the commits that are not an ancestor of another of them. */
  tips(revisions: readonly string[]): Promise<string[]>;
  /** Whether one of the configured signers has signed the commit; false when none is configured. */
  isSigned(revision: string): Promise<boolean>;
}

export interface MirrorOptions {
  git: Git;
  /** Absolute, e.g. <data>/mirrors/<name>.git; its parent is made. */
  directory: string;
  branch: string;
  /** File of allowed signers (ssh-keygen(1)), or null. */
  signers?: string | null;
  log: { warn(fields: Record<string, unknown>, message: string): void };
  /** Throws when the disk is too full to begin with anything. */
  requireSpace?: () => Promise<void>;
  /** How long to wait for another process's fetch. Default 10 min. */
  lockWaitMs?: number;
  /** After how long a killed process's lock is free. Default 10 s, the least is 2 s. */
  lockStaleMs?: number;
}

/** Throws ConfigError for a branch name that git would not accept. Starts nothing. */
export function createMirror(options: MirrorOptions): Mirror {
  const { git, directory, branch, log } = options;
  checkBranch(branch);
  const lock = createMirrorLock({
    directory,
    waitMs: options.lockWaitMs ?? 600_000,
    ...(options.lockStaleMs === undefined ? {} : { staleMs: options.lockStaleMs }),
  });

  function fetch(signal?: AbortSignal): Promise<{ head: string }> {
    return lock.hold(signal, (held) =>
      guarded(async () => {
        await makeRoom();
        if (!(await isOurDirectory(directory))) return build(held);
        try {
          return await update(options, directory, held);
        } catch (error) {
          if (!isDamage(error)) throw error;
          log.warn({ directory, problem: describeError(error) }, 'The mirror is damaged and is rebuilt');
          return build(held);
        }
      }),
    );
  }

  function rebuild(signal?: AbortSignal): Promise<{ head: string }> {
    return lock.hold(signal, (held) =>
      guarded(async () => {
        await makeRoom();
        return build(held);
      }),
    );
  }

  async function makeRoom(): Promise<void> {
    await removeLeftovers(directory);
    await options.requireSpace?.();
  }

  /** Beside the mirror first: what is there stays until its successor is whole. */
  async function build(held: AbortSignal): Promise<{ head: string }> {
    const successor = await mkdtemp(`${directory}.new-`);
    try {
      const fetched = await update(options, successor, held);
      held.throwIfAborted();
      const previous = await mkdtemp(`${directory}.old-`);
      if (await isOurDirectory(directory)) await rename(directory, previous);
      await rename(successor, directory);
      await remove(previous);
      return fetched;
    } catch (error) {
      await remove(successor);
      throw error;
    }
  }

  /** Damage that only shows when an object is read heals here, once per call. */
  async function healing<T>(operation: () => Promise<T>): Promise<T> {
    try {
      return await operation();
    } catch (error) {
      if (!isDamage(error)) throw error;
    }
    return lock.hold(undefined, async (held) => {
      try {
        // Reads take no lock: this one may only have met a mirror that was being rebuilt.
        return await operation();
      } catch (error) {
        if (!isDamage(error)) throw error;
        log.warn({ directory, problem: describeError(error) }, 'The mirror is damaged and is rebuilt');
        await guarded(() => build(held));
        return operation();
      }
    });
  }

  async function guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof Error && 'syscall' in error)
        throw fileError(`The mirror ${directory} failed`, error);
      throw error;
    }
  }

  const head = () => readCommitId(join(directory, 'refs/heads', branch));
  return {
    ...createReader({ git, directory, head, guard: healing }),
    directory,
    fetch,
    rebuild,
    tips: (revisions) => healing(() => tips(git, directory, revisions)),
    isSigned: (revision) => isSigned(git, directory, revision, options.signers ?? null),
  };
}

/** Brings `directory`, which may be empty, up to the remote's branch and proves that its head can be checked out. */
async function update(
  { git, branch, log }: MirrorOptions,
  directory: string,
  held: AbortSignal,
): Promise<{ head: string }> {
  const { url } = git.remote;
  await prepareMirror(directory, branch);
  const refspec = `+refs/heads/${branch}:refs/heads/${branch}`;
  await git.read(`Fetching ${branch} of ${url} failed`, ['fetch', ...FETCH_FLAGS, '--', url, refspec], {
    gitDirectory: directory,
    remote: true,
    signal: held,
  });
  const head = await readCommitId(join(directory, 'refs/heads', branch));
  if (!head) throw new GitError('broken', `The mirror ${directory} has no ${branch} after fetching it.`);
  // A fetch without news reads nothing: a truncated pack would only show in the middle of a checkout.
  await git.read(
    `The mirror ${directory} is not whole`,
    ['rev-list', '--objects', '--quiet', '-1', head, '--'],
    {
      gitDirectory: directory,
      signal: held,
    },
  );
  await mergePacks(git, directory, log, held);
  return { head };
}

/** Keeps the number of packs small. Nothing is ever dropped, as a workspace may still stand on an old commit. */
async function mergePacks(
  git: Git,
  directory: string,
  log: MirrorOptions['log'],
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

function isDamage(error: unknown): boolean {
  return error instanceof GitError && error.kind === 'broken';
}

/** The rules of git-check-ref-format(1); a name beyond them would mean something else in a refspec. */
function checkBranch(branch: string): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: git refuses them.
  const illegal = /[\u0000-\u0020\u007f~^:?*[\\]|\.\.|@\{|\/\/|^\/|\/$|\.$|\.lock(\/|$)|(^|\/)\./;
  if (branch !== '' && branch !== '@' && !illegal.test(branch)) return;
  throw new ConfigError(`GIT_BRANCH ${JSON.stringify(branch)} is not a branch name that git accepts.`, {
    nextAction: 'Set it to the name of the branch to deploy, without refs/heads/.',
  });
}
