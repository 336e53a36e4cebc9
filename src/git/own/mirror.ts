/** The bare clone of the operator's repository: fetched under a lock, rebuilt if damaged, then read. */

import { join } from 'node:path';
import { ConfigError, GitError } from '../../errors.ts';
import { refProblem } from '../../runs/texts/git-ref.ts';
import { FETCH_FLAGS, type Git, inRepository } from '../git.ts';
import { tips } from '../read/history.ts';
import { createReader, type RepositoryReader } from '../read/repository-reader.ts';
import { isSigned } from '../read/signature.ts';
import { prepareMirror, readCommitId } from '../requested/repository-directory.ts';
import { createMirrorKeeper, type MirrorKeeperOptions, mergePacks } from './mirror-keeper.ts';

export type { TreeEntry } from '../read/trees.ts';

export interface Mirror extends RepositoryReader {
  directory: string;
  /**
   * Fetches the branch, even if it was forced back, and builds the mirror if it is missing or damaged.
   * Throws GitError: `unavailable` if the remote or the directory cannot be used, `disk_full`, or `broken` if
   * a rebuilt mirror is damaged, too.
   */
  fetch(signal?: AbortSignal): Promise<{ head: string }>;
  /** Fetches from nothing, after damage was found in what the mirror contains. */
  rebuild(signal?: AbortSignal): Promise<{ head: string }>;
  /** The branch head as last fetched; null before the first fetch. */
  head(): Promise<string | null>;
  /** Returns those commits that are not an ancestor of another one of them. */
  tips(revisions: readonly string[]): Promise<string[]>;
  /** True if one of the configured signers has signed the commit; false if none is configured. */
  isSigned(revision: string): Promise<boolean>;
}

export interface MirrorOptions extends MirrorKeeperOptions {
  git: Git;
  branch: string;
  /** The file of allowed signers (ssh-keygen(1)), or null. */
  signers?: string | null;
}

/** Throws ConfigError for a branch name that git would not accept. Starts nothing. */
export function createMirror(options: MirrorOptions): Mirror {
  const { git, directory, branch } = options;
  checkBranch(branch);
  const keeper = createMirrorKeeper(options);
  const repository = inRepository(git, { gitDirectory: directory });
  const work = (place: string, held: AbortSignal) => update(options, place, held);
  const healing = <T>(operation: () => Promise<T>) => keeper.healing(operation, work);
  const head = () => readCommitId(join(directory, 'refs/heads', branch));
  return {
    ...createReader({ repository, head, guard: healing }),
    directory,
    fetch: (signal) => keeper.update(work, signal),
    rebuild: (signal) => keeper.rebuild(work, signal),
    tips: (revisions) => healing(() => tips(repository, revisions)),
    isSigned: (revision) => isSigned(repository, revision, options.signers ?? null),
  };
}

/** Brings `directory`, which may be empty, up to the branch of the remote, and proves that its head can be checked out. */
async function update(
  { git, branch, log }: MirrorOptions,
  directory: string,
  held: AbortSignal,
): Promise<{ head: string }> {
  const mirror = inRepository(git, { gitDirectory: directory, signal: held });
  const { url } = git.remote;
  await prepareMirror(directory, branch);
  const refspec = `+refs/heads/${branch}:refs/heads/${branch}`;
  await mirror.read(`Fetching ${branch} of ${url} failed`, ['fetch', ...FETCH_FLAGS, '--', url, refspec], {
    remote: true,
  });
  const head = await readCommitId(join(directory, 'refs/heads', branch));
  if (!head) throw new GitError('broken', `The mirror ${directory} has no ${branch} after fetching it.`);
  // A fetch that brings nothing reads nothing. Without this, a truncated pack would only show in the middle of a checkout.
  const check = ['rev-list', '--objects', '--quiet', '-1', head, '--'];
  await mirror.read(`The mirror ${directory} is not whole`, check);
  await mergePacks(mirror, log);
  return { head };
}

/** A name that breaks git's rules would mean something else in a refspec. */
function checkBranch(branch: string): void {
  if (branch !== '@' && refProblem(`refs/heads/${branch}`) === null) return;
  throw new ConfigError(`GIT_BRANCH ${JSON.stringify(branch)} is not a branch name that git accepts.`, {
    nextAction: 'Set it to the name of the branch to deploy, without refs/heads/.',
  });
}
