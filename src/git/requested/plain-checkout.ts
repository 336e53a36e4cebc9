/** A checkout on its own, like that of `git clone --depth 1`, made from a mirror without a network. */

import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { GitError } from '../../errors.ts';
import { checkedId, type Git, inRepository } from '../git.ts';
import {
  alternatesOf,
  fileError,
  readCommitId,
  remove,
  withFileErrors,
  writeBorrowingRepository,
} from './repository-directory.ts';

/** Several processes write the files, and nobody waits for the disk: after a crash the run starts again. */
const QUICKLY = ['-c', 'checkout.workers=4', '-c', 'core.fsync=none'];
const PACK = [...QUICKLY, 'pack-objects', '--quiet', '--revs', '--shallow', '--window=0'];

export interface PlainCheckoutOptions {
  git: Git;
  /** Absolute path of the mirror. */
  mirrorDirectory: string;
  commit: string;
  /** Absolute; must not exist yet. Only this user can read it. It is removed if the checkout fails. */
  directory: string;
  signal?: AbortSignal | undefined;
}

/**
 * Hooks, filters and submodules are not run or followed: a submodule is an empty folder. Throws GitError: `broken`
 * if the mirror lacks something, `disk_full`, `unavailable` if the directory cannot be created.
 */
export async function checkOutPlainly(options: PlainCheckoutOptions): Promise<void> {
  const { directory } = options;
  try {
    await mkdir(dirname(directory), { recursive: true, mode: 0o700 });
    await mkdir(directory, { mode: 0o700 });
  } catch (error) {
    throw fileError(`The folder ${directory} cannot be made`, error);
  }
  try {
    await withFileErrors(`The checkout ${directory} failed`, () => fill(options));
  } catch (error) {
    await remove(directory);
    throw error;
  }
}

async function fill(options: PlainCheckoutOptions): Promise<void> {
  const { git, mirrorDirectory, commit, directory, signal } = options;
  checkedId(commit);
  const gitDirectory = join(directory, '.git');
  const objects = join(mirrorDirectory, 'objects');
  await writeBorrowingRepository(gitDirectory, { objects, head: commit, origin: git.remote.url });
  // Ends the history here for every later git, because the mirror may be removed by then.
  await writeFile(join(gitDirectory, 'shallow'), `${commit}\n`);

  const failed = new AbortController();
  const either = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
  const repository = inRepository(git, { gitDirectory, signal: either });
  const inFolder = inRepository(git, { gitDirectory, workTree: directory, signal: either });
  const what = `Checking out ${commit} of ${git.remote.url} failed`;
  // The deltas of the mirror are copied unchanged, which takes less time than the checkout beside it.
  const pack = [...PACK, '--delta-base-offset', join(gitDirectory, 'objects/pack/pack')];
  const jobs = [
    inFolder.read(what, [...QUICKLY, 'checkout', '--quiet', '--force', '--detach', commit]),
    repository.read(what, pack, { input: `${commit}\n` }),
  ].map((job) =>
    job.catch((error: unknown) => {
      failed.abort(error);
      throw error;
    }),
  );
  const results = await Promise.allSettled(jobs);
  signal?.throwIfAborted();
  if (results.some(({ status }) => status === 'rejected')) throw failed.signal.reason;
  await rm(alternatesOf(gitDirectory));
  const head = await readCommitId(join(gitDirectory, 'HEAD'));
  if (head !== commit) throw new GitError('broken', `${what}: it is at ${head ?? 'no commit'}.`);
}
