/** A checkout that stands alone: what `git clone --depth 1` would give, made from a mirror without a network. */

import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { GitError } from '../../errors.ts';
import { checkedId, type Git } from '../git.ts';
import {
  alternatesOf,
  fileError,
  readCommitId,
  remove,
  writeBorrowingRepository,
} from './repository-directory.ts';

/** Files are written by several processes, and nobody waits for the disk: after a crash the run starts anew. */
const QUICKLY = ['-c', 'checkout.workers=4', '-c', 'core.fsync=none'];

export interface PlainCheckoutOptions {
  git: Git;
  /** Absolute path of the mirror. */
  mirrorDirectory: string;
  commit: string;
  /** Absolute; must not be there yet. Made for this user alone; gone again when the checkout fails. */
  directory: string;
  signal?: AbortSignal | undefined;
}

/**
 * Hooks, filters and submodules are not run or followed: a submodule is an empty folder. Throws GitError: `broken`
 * for a mirror that lacks something, `disk_full`, `unavailable` when the directory cannot be made.
 */
export async function checkOutPlainly(options: PlainCheckoutOptions): Promise<void> {
  const { directory } = options;
  await makeDirectory(directory);
  try {
    await fill(options);
  } catch (error) {
    await remove(directory);
    if (error instanceof Error && 'syscall' in error)
      throw fileError(`The checkout ${directory} failed`, error);
    throw error;
  }
}

async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(dirname(directory), { recursive: true, mode: 0o700 });
    await mkdir(directory, { mode: 0o700 });
  } catch (error) {
    throw fileError(`The folder ${directory} cannot be made`, error);
  }
}

async function fill({
  git,
  mirrorDirectory,
  commit,
  directory,
  signal,
}: PlainCheckoutOptions): Promise<void> {
  checkedId(commit);
  const gitDirectory = join(directory, '.git');
  const objects = join(mirrorDirectory, 'objects');
  await writeBorrowingRepository(gitDirectory, { objects, head: commit, origin: git.remote.url });
  // Ends the history here, in the eyes of every git that comes: the mirror may be gone by then.
  await writeFile(join(gitDirectory, 'shallow'), `${commit}\n`);

  const failed = new AbortController();
  const place = { gitDirectory, signal: signal ? AbortSignal.any([signal, failed.signal]) : failed.signal };
  const what = `Checking out ${commit} of ${git.remote.url} failed`;
  const checkOut = [...QUICKLY, 'checkout', '--quiet', '--force', '--detach', commit];
  const pack = [
    ...QUICKLY,
    'pack-objects',
    '--quiet',
    '--revs',
    '--shallow',
    '--window=0',
    '--delta-base-offset',
  ];
  const jobs = [
    git.read(what, checkOut, { ...place, workTree: directory }),
    // The mirror's deltas are taken as they are: copying them takes less time than the checkout beside it.
    git.read(what, [...pack, join(gitDirectory, 'objects/pack/pack')], { ...place, input: `${commit}\n` }),
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
