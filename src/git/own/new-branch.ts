/** Makes the content of a folder one commit and a new branch of the remote, without trusting the folder's repository. */

import { lstat } from 'node:fs/promises';
import path from 'node:path';
import { GitError } from '../../errors.ts';
import { gitFailure } from '../failure.ts';
import { checkedId, type Git, inRepository, type RepositoryGit } from '../git.ts';
import { LOG_ONE } from '../read/history.ts';
import { remove, renewBorrowingRepository } from '../requested/repository-directory.ts';

interface Person {
  name: string;
  email: string;
}

export interface Recorded {
  commit: string;
  committerEmail: string;
  /** The number of lines compared with its first parent. A binary file counts as no lines. */
  linesAdded: number;
  linesRemoved: number;
}

interface Change {
  folder: string;
  base: string;
  message: string;
  author: Person;
  committer: Person;
}

export interface NewBranch {
  /**
   * Makes a commit of what `folder` contains, without what its .gitignore files leave out, on top of `base`. Null if
   * nothing differs. Hooks, filters and settings that somebody left in the folder are not run or read. Throws GitError.
   */
  record(change: Change): Promise<Recorded | null>;
  /**
   * Creates the branch at a commit. Returns null if this succeeds. If the branch exists already, returns its commit: of two
   * callers at the same time, the server accepts one. Throws GitError.
   */
  push(commit: string, branch: string): Promise<Recorded | null>;
  /** Finds the commit of a branch of the remote, or null. Throws GitError. */
  find(branch: string): Promise<Recorded | null>;
  /** Removes the temporary files. */
  remove(): Promise<void>;
}

export interface NewBranchOptions {
  git: Git;
  /** Absolute; what is there is replaced. */
  directory: string;
  /** Absolute path of the mirror. */
  mirrorDirectory: string;
  /** Fetches a full ref into the mirror; null if the remote has no such ref. */
  fetch(ref: string): Promise<string | null>;
  signal?: AbortSignal | undefined;
}

/** git does not wait for the disk, because after a crash everything here is made again. */
const QUICKLY = ['-c', 'core.fsync=none'];

export async function openNewBranch(options: NewBranchOptions): Promise<NewBranch> {
  const { directory, signal } = options;
  const objects = `${options.mirrorDirectory}/objects`;
  const repository = inRepository(options.git, { gitDirectory: directory, signal });
  await renewBorrowingRepository(directory, objects);

  async function find(branch: string): Promise<Recorded | null> {
    const commit = await options.fetch(`refs/heads/${branch}`);
    return commit === null ? null : describe(repository, commit);
  }

  return {
    find,
    async record(change) {
      const workTree = change.folder;
      await requireFolder(workTree);
      const inFolder = inRepository(options.git, { gitDirectory: directory, workTree, signal });
      const commit = await recordChange(repository, inFolder, change);
      return commit === null ? null : describe(repository, commit);
    },
    async push(commit, branch) {
      const { url, advice } = repository.remote;
      const ref = `refs/heads/${branch}`;
      // The push expects that there is no such branch: the server compares and sets in one step.
      const args = ['push', '--quiet', '--no-verify', `--force-with-lease=${ref}:`, '--', url];
      const { exitCode, stderr } = await repository.run([...args, `${checkedId(commit)}:${ref}`], {
        remote: true,
      });
      if (exitCode === 0) return null;
      const there = await find(branch);
      // The answer of the server may have been lost on the way.
      if (there?.commit === commit) return null;
      if (there === null) throw gitFailure(`Pushing to ${url} failed`, stderr, advice);
      return there;
    },
    remove: () => remove(directory),
  };
}

/** Returns the commit, or null if nothing differs. */
async function recordChange(
  repository: RepositoryGit,
  inFolder: RepositoryGit,
  { folder, base, message, author, committer }: Change,
): Promise<string | null> {
  const what = `Recording the changes in ${folder} failed`;
  await repository.read(what, ['read-tree', checkedId(base)]);
  // git would add a repository in the folder as a link to a commit that nobody else has. Its files are wanted instead.
  for (let inner = ['']; inner.length > 0; ) {
    const list = ['ls-files', '--others', '--exclude-standard', '-z'];
    inner = repositoriesAmong(await inFolder.read(what, list));
    await Promise.all(inner.map((name) => remove(path.join(folder, name, '.git'))));
  }
  await inFolder.read(what, [...QUICKLY, 'add', '--all', '--', '.']);
  const tree = await repository.readId(what, [...QUICKLY, 'write-tree']);
  const treeOfBase = ['rev-parse', '--verify', '--quiet', `${base}^{tree}`];
  if (tree === (await repository.readId(`Reading ${base} failed`, treeOfBase))) return null;
  const settings = Object.entries({ author, committer }).flatMap(([role, { name, email }]) => [
    ...['-c', `${role}.name=${name}`],
    ...['-c', `${role}.email=${email}`],
  ]);
  const args = [...QUICKLY, ...settings, 'commit-tree', tree, '-p', base, '-F', '-'];
  return repository.readId(what, args, { input: `${message}\n` });
}

async function describe({ read }: RepositoryGit, commit: string): Promise<Recorded> {
  const what = `Reading ${commit} failed`;
  const email = await read(what, [...LOG_ONE, '--format=%ce', checkedId(commit), '--']);
  const compare = ['diff-tree', '-r', '-M', '--root', '--no-commit-id', '--no-ext-diff', '--no-textconv'];
  // git lists nothing for a merge, but no merge is made here.
  const listed = await read(what, [...compare, '--numstat', commit, '--']);
  return { commit, committerEmail: email.toString().trim(), ...countLines(listed.toString()) };
}

/** git looks into folders, but not into those that have a repository of their own. */
function repositoriesAmong(listed: Buffer): string[] {
  return listed
    .toString()
    .split('\0')
    .filter((name) => name.endsWith('/'));
}

/** A link is refused, because it may lead to files that do not belong to the checkout. */
async function requireFolder(folder: string): Promise<void> {
  const found = await lstat(folder).catch(() => null);
  if (found?.isDirectory()) return;
  throw new GitError('unavailable', `${folder} is no folder any more.`, {
    nextAction: 'Find out what removed it while the job ran.',
  });
}

/** See git-diff-tree(1), --numstat: `-` means a file that has no lines. */
function countLines(listed: string): { linesAdded: number; linesRemoved: number } {
  let linesAdded = 0;
  let linesRemoved = 0;
  for (const [, added, removed] of listed.matchAll(/^(\d+)\t(\d+)\t/gm)) {
    linesAdded += Number(added);
    linesRemoved += Number(removed);
  }
  return { linesAdded, linesRemoved };
}
