/** The bare clone of the operator's repository: fetched under a lock, rebuilt if damaged, then read. */

import { join } from 'node:path';
import { ConfigError, GitError } from '../../errors.ts';
import { refProblem } from '../../runs/texts/git-ref.ts';
import { FETCH_FLAGS, type Git, inRepository, type RepositoryGit } from '../git.ts';
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

/** What the mirror follows: a branch, or the newest tag by version among those that match, such as `v*`. */
export type Followed = { branch: string } | { tags: string };

export interface MirrorOptions extends MirrorKeeperOptions {
  git: Git;
  followed: Followed;
  /** The file of allowed signers (ssh-keygen(1)), or null. */
  signers?: string | null;
}

/** Throws ConfigError for a branch name that git would not accept. Starts nothing. */
export function createMirror(options: MirrorOptions): Mirror {
  const { git, directory, followed } = options;
  if ('branch' in followed) checkBranch(followed.branch);
  const keeper = createMirrorKeeper(options);
  const repository = inRepository(git, { gitDirectory: directory });
  const work = (place: string, held: AbortSignal) => update(options, place, held);
  const healing = <T>(operation: () => Promise<T>) => keeper.healing(operation, work);
  const head = () => readHead(directory, followed);
  return {
    ...createReader({
      repository,
      head,
      guard: healing,
      ...('tags' in followed && { heads: () => tagCommits(repository, followed.tags) }),
    }),
    directory,
    fetch: (signal) => keeper.update(work, signal),
    rebuild: (signal) => keeper.rebuild(work, signal),
    tips: (revisions) => healing(() => tips(repository, revisions)),
    isSigned: (revision) => isSigned(repository, revision, options.signers ?? null),
  };
}

/** Brings `directory`, which may be empty, up to the remote, and proves that its head can be checked out. */
async function update(
  { git, followed, log }: MirrorOptions,
  directory: string,
  held: AbortSignal,
): Promise<{ head: string }> {
  const mirror = inRepository(git, { gitDirectory: directory, signal: held });
  await prepareMirror(directory, branchOf(followed));
  await ('branch' in followed ? fetchBranch(mirror, followed.branch) : fetchTags(mirror, followed.tags));
  const head = await readHead(directory, followed);
  if (!head) throw new GitError('broken', `The mirror ${directory} has no head after fetching it.`);
  // A fetch that brings nothing reads nothing. Without this, a truncated pack would only show in the middle of a checkout.
  const check = ['rev-list', '--objects', '--quiet', '-1', head, '--'];
  await mirror.read(`The mirror ${directory} is not whole`, check);
  await mergePacks(mirror, log);
  return { head };
}

/** In a mirror that follows tags, this branch is at the commit of the newest one. */
const NEWEST_TAG = 'newest-tag';

function branchOf(followed: Followed): string {
  return 'branch' in followed ? followed.branch : NEWEST_TAG;
}

function readHead(directory: string, followed: Followed): Promise<string | null> {
  return readCommitId(join(directory, 'refs/heads', branchOf(followed)));
}

async function fetchBranch(mirror: RepositoryGit, branch: string): Promise<void> {
  const { url } = mirror.remote;
  const refspec = `+refs/heads/${branch}:refs/heads/${branch}`;
  const args = ['fetch', ...FETCH_FLAGS, '--', url, refspec];
  await mirror.read(`Fetching ${branch} of ${url} failed`, args, { remote: true });
}

/** A tag that is deleted from the remote does not count any more. */
async function fetchTags(mirror: RepositoryGit, pattern: string): Promise<void> {
  const { url } = mirror.remote;
  const refspec = `+refs/tags/${pattern}:refs/tags/${pattern}`;
  const args = ['fetch', ...FETCH_FLAGS, '--prune', '--', url, refspec];
  await mirror.read(`Fetching the tags ${pattern} of ${url} failed`, args, { remote: true });
  const [newest] = await tagCommits(mirror, pattern);
  if (newest === undefined) {
    throw new GitError('unknown_revision', `${url} has no tag ${pattern} on a commit.`, {
      nextAction: 'Push such a tag, or correct the pattern in CONFIG_FILE.',
    });
  }
  await mirror.read('Noting the newest tag failed', ['update-ref', `refs/heads/${NEWEST_TAG}`, newest]);
}

/** Returns the commits of the tags, the newest by version first. A tag such as v1.0-rc1 is older than v1.0. */
async function tagCommits(mirror: RepositoryGit, pattern: string): Promise<string[]> {
  const sorted = ['-c', 'versionsort.suffix=-', 'for-each-ref', '--sort=-version:refname'];
  const format = '--format=%(objecttype) %(objectname) %(*objecttype) %(*objectname)';
  const tags = await mirror.read('Listing the tags failed', [...sorted, format, `refs/tags/${pattern}`]);
  return tags
    .toString()
    .split('\n')
    .flatMap((line) => {
      const [type, id, targetType, target] = line.split(' ');
      const commit = type === 'commit' ? id : targetType === 'commit' ? target : undefined;
      return commit ?? [];
    });
}

/** A name that breaks git's rules would mean something else in a refspec. */
function checkBranch(branch: string): void {
  if (branch !== '@' && refProblem(`refs/heads/${branch}`) === null) return;
  throw new ConfigError(`GIT_BRANCH ${JSON.stringify(branch)} is not a branch name that git accepts.`, {
    nextAction: 'Set it to the name of the branch to deploy, without refs/heads/.',
  });
}
