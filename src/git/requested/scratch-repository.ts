/** A throwaway repository on top of another's objects: what is fetched or made in it never enters that one. */

import { GitError } from '../../errors.ts';
import { gitFailure, isMissingOnRemote } from '../failure.ts';
import { checkedId, FETCH_FLAGS, type Git, inRepository } from '../git.ts';
import { createReader, type RepositoryReader } from '../read/repository-reader.ts';
import { readCommitId, remove, renewBorrowingRepository } from './repository-directory.ts';

export interface ScratchRepository {
  /** Its git directory. */
  directory: string;
  /** Reads both repositories, as if `head` were the branch head. */
  reader(head: string): RepositoryReader;
  /**
   * Fetches a branch, another ref or a commit id from the remote. Returns its commit, or null if the remote has no such
   * thing. Throws GitError `unavailable` or `disk_full`.
   */
  fetch(source: string, signal?: AbortSignal): Promise<string | null>;
  /** Makes the commit that merging `head` into `base` would make. A conflict is left in its files. Needs git 2.38. */
  merge(base: string, head: string): Promise<{ commit: string; conflicts: boolean }>;
  /** Makes a commit of a tree, with any parents. */
  commitTree(tree: string, parents: readonly string[]): Promise<string>;
  remove(): Promise<void>;
}

export interface ScratchOptions {
  git: Git;
  /** Absolute; what is there is replaced. */
  directory: string;
  /** Absolute path of the other repository's `objects`. */
  objects: string;
}

/** git needs a name for a commit, although nobody ever sees these. */
const IDENTITY = ['-c', 'user.name=iac-runner', '-c', 'user.email=iac-runner@localhost'];

const FETCHED_REF = 'refs/iac-runner/fetched';

export async function createScratchRepository(options: ScratchOptions): Promise<ScratchRepository> {
  const { git, directory, objects } = options;
  const repository = inRepository(git, { gitDirectory: directory });
  await renewBorrowingRepository(directory, objects);

  async function commitTree(tree: string, parents: readonly string[]): Promise<string> {
    const named = parents.flatMap((parent) => ['-p', checkedId(parent)]);
    const args = [...IDENTITY, 'commit-tree', checkedId(tree), ...named, '-m', 'Scratch'];
    return repository.readId('Making a commit failed', args);
  }

  return {
    directory,
    commitTree,
    reader: (head) => createReader({ repository, head: async () => checkedId(head) }),
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
      const output = await repository.run([...args, checkedId(base), checkedId(head)]);
      // git exits with 129 if it does not know an option.
      if (output.exitCode === 129) {
        throw new GitError('unavailable', 'This git cannot merge without a checkout.', {
          nextAction: 'Install git 2.38 or newer.',
        });
      }
      if (output.exitCode > 1) throw gitFailure(`Merging ${head} into ${base} failed`, output.stderr);
      const [tree = ''] = output.stdout.toString().split('\0', 1);
      return { commit: await commitTree(tree, [base, head]), conflicts: output.exitCode === 1 };
    },
    remove: () => remove(directory),
  };
}
