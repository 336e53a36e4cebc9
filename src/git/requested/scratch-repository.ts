/** A throwaway repository on top of another's objects: what is fetched or made in it never enters that one. */

import { GitError } from '../../errors.ts';
import { gitFailure, isMissingOnRemote } from '../failure.ts';
import { checkedId, FETCH_FLAGS, type Git } from '../git.ts';
import { createReader, type RepositoryReader } from '../read/repository-reader.ts';
import { fileError, readCommitId, remove, writeBorrowingRepository } from './repository-directory.ts';

export interface ScratchRepository {
  /** Its git directory. */
  directory: string;
  /** Reads both repositories, as if `head` were the branch head. */
  reader(head: string): RepositoryReader;
  /**
   * Fetches a branch, another ref or a commit id from the remote; its commit, or null when the remote has no such
   * thing. Throws GitError `unavailable` or `disk_full`.
   */
  fetch(source: string, signal?: AbortSignal): Promise<string | null>;
  /** The commit that merging `head` into `base` would make. A conflict is left in its files. Needs git 2.38. */
  merge(base: string, head: string): Promise<{ commit: string; conflicts: boolean }>;
  /** A commit of a tree, with any parents. */
  commitTree(tree: string, parents: readonly string[]): Promise<string>;
  remove(): Promise<void>;
}

export interface ScratchOptions {
  git: Git;
  /** Absolute; made anew, whatever is there. */
  directory: string;
  /** Absolute path of the other repository's `objects`. */
  objects: string;
}

/** Nobody ever sees these commits; git asks for a name all the same. */
const IDENTITY = ['-c', 'user.name=iac-runner', '-c', 'user.email=iac-runner@localhost'];

const FETCHED_REF = 'refs/iac-runner/fetched';

export async function createScratchRepository(options: ScratchOptions): Promise<ScratchRepository> {
  const { git, directory, objects } = options;
  try {
    await remove(directory);
    await writeBorrowingRepository(directory, { objects, head: null });
  } catch (error) {
    throw fileError(`The folder ${directory} cannot be made`, error);
  }

  async function commitTree(tree: string, parents: readonly string[]): Promise<string> {
    const named = parents.flatMap((parent) => ['-p', checkedId(parent)]);
    const args = [...IDENTITY, 'commit-tree', checkedId(tree), ...named, '-m', 'Scratch'];
    const output = await git.read('Making a commit failed', args, { gitDirectory: directory });
    return checkedId(output.toString().trim());
  }

  return {
    directory,
    commitTree,
    reader: (head) => createReader({ git, directory, head: async () => checkedId(head) }),
    async fetch(source, signal) {
      const { url } = git.remote;
      const args = ['fetch', ...FETCH_FLAGS, '--', url, `+${source}:${FETCHED_REF}`];
      const { exitCode, stderr } = await git.run(args, { gitDirectory: directory, remote: true, signal });
      if (exitCode === 0) return readCommitId(`${directory}/${FETCHED_REF}`);
      if (isMissingOnRemote(stderr)) return null;
      throw gitFailure(`Fetching ${source} of ${url} failed`, stderr);
    },
    async merge(base, head) {
      const args = ['merge-tree', '--write-tree', '--allow-unrelated-histories', '--no-messages', '-z'];
      const output = await git.run([...args, checkedId(base), checkedId(head)], { gitDirectory: directory });
      // 129 is how git refuses what it does not know.
      if (output.exitCode === 129) throw tooOld();
      if (output.exitCode > 1) throw gitFailure(`Merging ${head} into ${base} failed`, output.stderr);
      const [tree = ''] = output.stdout.toString().split('\0', 1);
      return { commit: await commitTree(tree, [base, head]), conflicts: output.exitCode === 1 };
    },
    remove: () => remove(directory),
  };
}

function tooOld(): GitError {
  return new GitError('unavailable', 'This git cannot merge without a checkout.', {
    nextAction: 'Install git 2.38 or newer.',
  });
}
