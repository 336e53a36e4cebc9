/** A folder's content as one commit and a new branch of the remote, made without believing the folder's own repository. */

import { lstat } from 'node:fs/promises';
import path from 'node:path';
import { GitError } from '../../errors.ts';
import { gitFailure } from '../failure.ts';
import { checkedId, type Git } from '../git.ts';
import { fileError, remove, writeBorrowingRepository } from '../requested/repository-directory.ts';

interface Person {
  name: string;
  email: string;
}

export interface Recorded {
  commit: string;
  committerEmail: string;
  /** Against its first parent; binary files count as none. */
  linesAdded: number;
  linesRemoved: number;
}

export interface NewBranch {
  /**
   * A commit of what `folder` holds, without what its .gitignore files leave out, on top of `base`; null when nothing
   * differs. Hooks, filters and settings that somebody left in the folder are not run or read. Throws GitError.
   */
  record(change: {
    folder: string;
    base: string;
    message: string;
    author: Person;
    committer: Person;
  }): Promise<Recorded | null>;
  /**
   * Makes the branch at a commit. Null when that is done, else what stands there already: of two who do this at the
   * same time the server lets one. Throws GitError.
   */
  push(commit: string, branch: string): Promise<Recorded | null>;
  /** Where a branch of the remote is, or null. Throws GitError. */
  find(branch: string): Promise<Recorded | null>;
  /** Removes what was needed on the way. */
  remove(): Promise<void>;
}

export interface NewBranchOptions {
  git: Git;
  /** Absolute; made anew. */
  directory: string;
  /** Absolute path of the mirror. */
  mirrorDirectory: string;
  /** Fetches a full ref into the mirror; null when the remote has no such ref. */
  fetch(ref: string): Promise<string | null>;
  signal?: AbortSignal | undefined;
}

/** Nobody waits for the disk: after a crash everything here is made anew. */
const QUICKLY = ['-c', 'core.fsync=none'];

export async function openNewBranch(options: NewBranchOptions): Promise<NewBranch> {
  const { git, directory, signal } = options;
  const place = { gitDirectory: directory, signal };
  try {
    await remove(directory);
    await writeBorrowingRepository(directory, {
      objects: `${options.mirrorDirectory}/objects`,
      head: null,
    });
  } catch (error) {
    throw fileError(`The folder ${directory} cannot be made`, error);
  }

  async function treeOf(commit: string): Promise<string> {
    const args = ['rev-parse', '--verify', '--quiet', `${checkedId(commit)}^{tree}`];
    return checkedId((await git.read(`Reading ${commit} failed`, args, place)).toString().trim());
  }

  async function describe(commit: string): Promise<Recorded> {
    const what = `Reading ${commit} failed`;
    const args = ['log', '-1', '--encoding=UTF-8', '--no-show-signature', '--no-color', '--format=%ce'];
    const email = await git.read(what, [...args, checkedId(commit), '--'], place);
    const compare = ['diff-tree', '-r', '-M', '--root', '--no-commit-id', '--no-ext-diff', '--no-textconv'];
    // Of a merge nothing is listed, and we make none.
    const listed = await git.read(what, [...compare, '--numstat', commit, '--'], place);
    return { commit, committerEmail: email.toString().trim(), ...countLines(listed.toString()) };
  }

  async function find(branch: string): Promise<Recorded | null> {
    const commit = await options.fetch(`refs/heads/${branch}`);
    return commit === null ? null : describe(commit);
  }

  return {
    find,
    async record({ folder, base, message, author, committer }) {
      await requireFolder(folder);
      const inFolder = { ...place, workTree: folder };
      const what = `Recording the changes in ${folder} failed`;
      await git.read(what, ['read-tree', checkedId(base)], place);
      // A repository in the folder would be added as a link to a commit that nobody else has: its files are meant.
      for (let inner = ['']; inner.length > 0; ) {
        const list = ['ls-files', '--others', '--exclude-standard', '-z'];
        inner = repositoriesAmong(await git.read(what, list, inFolder));
        await Promise.all(inner.map((repository) => remove(path.join(folder, repository, '.git'))));
      }
      await git.read(what, [...QUICKLY, 'add', '--all', '--', '.'], inFolder);
      const tree = checkedId((await git.read(what, [...QUICKLY, 'write-tree'], place)).toString().trim());
      if (tree === (await treeOf(base))) return null;
      const people = { author, committer };
      const settings = Object.entries(people).flatMap(([role, { name, email }]) => [
        ...['-c', `${role}.name=${name}`],
        ...['-c', `${role}.email=${email}`],
      ]);
      const args = [...QUICKLY, ...settings, 'commit-tree', tree, '-p', base, '-F', '-'];
      const output = await git.read(what, args, { ...place, input: `${message}\n` });
      return describe(checkedId(output.toString().trim()));
    },
    async push(commit, branch) {
      const { url, advice } = git.remote;
      const ref = `refs/heads/${branch}`;
      // Expects that there is none: the server compares and sets in one step.
      const args = ['push', '--quiet', '--no-verify', `--force-with-lease=${ref}:`, '--', url];
      const { exitCode, stderr } = await git.run([...args, `${checkedId(commit)}:${ref}`], {
        ...place,
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

/** git looks into folders, but not into those that have a repository of their own. */
function repositoriesAmong(listed: Buffer): string[] {
  return listed
    .toString()
    .split('\0')
    .filter((name) => name.endsWith('/'));
}

/** Not a link that leads to files which are none of the checkout. */
async function requireFolder(folder: string): Promise<void> {
  const found = await lstat(folder).catch(() => null);
  if (found?.isDirectory()) return;
  throw new GitError('unavailable', `${folder} is no folder any more.`, {
    nextAction: 'Find out what removed it while the job ran.',
  });
}

/** See git-diff-tree(1), --numstat; `-` stands for what has no lines. */
function countLines(listed: string): { linesAdded: number; linesRemoved: number } {
  let linesAdded = 0;
  let linesRemoved = 0;
  for (const [, added, removed] of listed.matchAll(/^(\d+)\t(\d+)\t/gm)) {
    linesAdded += Number(added);
    linesRemoved += Number(removed);
  }
  return { linesAdded, linesRemoved };
}
