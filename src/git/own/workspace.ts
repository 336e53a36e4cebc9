/** The persistent checkout that tasks run in, moved from commit to commit. */

import { lstat, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { GitError } from '../../errors.ts';
import { gitFailure } from '../failure.ts';
import { checkedId, type Git, inRepository, type RepositoryGit } from '../git.ts';
import type { TreeEntry } from '../read/trees.ts';
import {
  isOurDirectory,
  readCommitId,
  remove,
  withFileErrors,
  writeBorrowingRepository,
} from '../requested/repository-directory.ts';
import type { Mirror } from './mirror.ts';
import { isDamage } from './mirror-keeper.ts';

const PATHS_AT_ONCE = 256;

export interface Workspace {
  directory: string;
  /**
   * Makes the directory exactly the commit's tree, plus what git ignores there. Only the holder of the lock on the
   * workspace may call it. Throws GitError: `unknown_revision`, `disk_full`, `unavailable` if the directory cannot be
   * used, `broken`.
   */
  moveTo(revision: string, signal?: AbortSignal): Promise<void>;
}

export interface WorkspaceOptions {
  git: Git;
  mirror: Mirror;
  directory: string;
  /** Throws if the disk is too full to start anything. */
  requireSpace?: () => Promise<void>;
}

/** `directory` is absolute. The first move creates it and its parents. Its objects stay in the mirror. */
export function createWorkspace(options: WorkspaceOptions): Workspace {
  const { git, mirror, directory, requireSpace } = options;

  async function move(revision: string, signal?: AbortSignal): Promise<void> {
    const repository = inRepository(git, {
      gitDirectory: join(directory, '.git'),
      workTree: directory,
      signal,
    });
    if (!(await isOurDirectory(directory))) await mkdir(directory, { recursive: true, mode: 0o755 });
    const entries = await mirror.listTree(revision);
    const previous = await readCommitId(join(directory, '.git/HEAD'));
    const step = { repository, mirror, directory, revision, entries };
    await checkOut({ ...step, previous }).catch(async (error: unknown) => {
      if (!isDamage(error)) throw error;
      // The repository is new on each move, so the damage is in the mirror, where its objects are.
      await mirror.rebuild(signal);
      await checkOut({ ...step, previous: null });
    });
  }

  return {
    directory,
    async moveTo(revision, signal) {
      checkedId(revision);
      await requireSpace?.();
      await withFileErrors(`The workspace ${directory} failed`, () => move(revision, signal));
    },
  };
}

interface Move {
  repository: RepositoryGit;
  mirror: Mirror;
  directory: string;
  revision: string;
  entries: readonly TreeEntry[];
  /** The commit that the files are from, or null if it is not known. */
  previous: string | null;
}

/**
 * The old `.git` is not trusted, because tasks may write there: its hooks, configuration, locks and an index with
 * planted bits are removed. The new index knows no file times, so `update-index` compares the content of every
 * tracked file, and the checkout writes those that differ.
 */
async function checkOut(move: Move): Promise<void> {
  const { repository, directory, revision } = move;
  const what = `Checking out ${revision} in ${directory} failed`;
  await loadPreviousIndex(move);
  await repository.read(what, ['checkout', '--quiet', '--force', '--detach', revision]);
  await emptyNestedRepositories(directory, move.entries);
  await repository.read(`Cleaning ${directory} failed`, ['clean', '--quiet', '-ffd']);
  const head = await readCommitId(join(directory, '.git/HEAD'));
  if (head !== revision) throw new GitError('broken', `${what}: it is at ${head ?? 'no commit'}.`);
}

/** Without the index of the previous commit, files that it had and that are ignored now would stay. */
async function loadPreviousIndex({ repository, mirror, directory, previous }: Move): Promise<void> {
  const renew = async (head: string | null): Promise<void> => {
    await remove(repository.directory);
    const objects = join(mirror.directory, 'objects');
    await writeBorrowingRepository(repository.directory, { objects, head });
  };
  await renew(previous);
  if (previous === null) return;
  const loaded = await repository.run(['read-tree', previous]);
  // The mirror may have been rebuilt after a forced push, and lack the previous commit.
  if (loaded.exitCode !== 0) return renew(null);
  const refreshed = await repository.run(['update-index', '-q', '--refresh']);
  // Exit code 1 only says that files differ.
  if (refreshed.exitCode > 1)
    throw gitFailure(`Comparing the files of ${directory} failed`, refreshed.stderr);
}

/** git never changes a `.git` below a tracked folder, nor anything inside the folder of a submodule. */
async function emptyNestedRepositories(directory: string, entries: readonly TreeEntry[]): Promise<void> {
  const submodules = entries.filter(({ type }) => type === 'commit').map(({ path }) => join(directory, path));
  const folders = entries
    .filter(({ type }) => type === 'tree')
    .map(({ path }) => join(directory, path, '.git'));
  for (const path of await existing(folders)) await remove(path);
  for (const path of await existing(submodules)) {
    await remove(path);
    await mkdir(path);
  }
}

/** Returns the paths at which there is anything. It looks in portions, as there may be ten thousand folders. */
async function existing(paths: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (let start = 0; start < paths.length; start += PATHS_AT_ONCE) {
    const portion = paths.slice(start, start + PATHS_AT_ONCE);
    const stats = await Promise.all(portion.map((path) => lstat(path).catch(() => null)));
    found.push(...portion.filter((_, index) => stats[index] !== null));
  }
  return found;
}
