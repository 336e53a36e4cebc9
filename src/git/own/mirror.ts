/** The bare clone of the operator's repository: fetched under a lock, rebuilt when damaged, then read. */

import { join } from 'node:path';
import { ConfigError, GitError } from '../../errors.ts';
import { refProblem } from '../../runs/texts/git-ref.ts';
import { FETCH_FLAGS, type Git } from '../git.ts';
import { tips } from '../read/history.ts';
import { createReader, type RepositoryReader } from '../read/repository-reader.ts';
import { isSigned } from '../read/signature.ts';
import { prepareMirror, readCommitId } from '../requested/repository-directory.ts';
import { createMirrorKeeper, type MirrorLog, mergePacks } from './mirror-keeper.ts';
import { createMirrorLock } from './mirror-lock.ts';

export type { TreeEntry } from '../read/trees.ts';

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
  log: MirrorLog;
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

  const keeper = createMirrorKeeper({ directory, lock, log, requireSpace: options.requireSpace });
  const work = (place: string, held: AbortSignal) => update(options, place, held);
  const healing = <T>(operation: () => Promise<T>) => keeper.healing(operation, work);
  const head = () => readCommitId(join(directory, 'refs/heads', branch));
  return {
    ...createReader({ git, directory, head, guard: healing }),
    directory,
    fetch: (signal) => keeper.update(work, signal),
    rebuild: (signal) => keeper.rebuild(work, signal),
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

/** A name beyond git's rules would mean something else in a refspec. */
function checkBranch(branch: string): void {
  if (branch !== '@' && refProblem(`refs/heads/${branch}`) === null) return;
  throw new ConfigError(`GIT_BRANCH ${JSON.stringify(branch)} is not a branch name that git accepts.`, {
    nextAction: 'Set it to the name of the branch to deploy, without refs/heads/.',
  });
}
