/** The persistent checkout that tasks run in, moved from commit to commit. */

import { lstat, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { GitError } from '../../errors.ts';
import { gitFailure } from '../failure.ts';
import { checkedId, type Git } from '../git.ts';
import type { TreeEntry } from '../read/trees.ts';
import {
  fileError,
  isOurDirectory,
  readCommitId,
  remove,
  renewWorkTreeRepository,
} from '../requested/repository-directory.ts';
import type { Mirror } from './mirror.ts';

const PATHS_AT_ONCE = 256;

export interface Workspace {
  directory: string;
  /**
   * Makes the directory exactly the commit's tree, plus what git ignores there. Only for the holder of the lock on
   * the workspace. Throws GitError: `unknown_revision`, `disk_full`, `unavailable` when the directory cannot be
   * used, `broken`.
   */
  moveTo(revision: string, signal?: AbortSignal): Promise<void>;
}

export interface WorkspaceOptions {
  git: Git;
  mirror: Mirror;
  directory: string;
  /** Throws when the disk is too full to begin with anything. */
  requireSpace?: () => Promise<void>;
}

/** `directory` is absolute; it and its parents are made by the first move. Its objects stay in the mirror. */
export function createWorkspace(options: WorkspaceOptions): Workspace {
  const { mirror, directory, requireSpace } = options;

  async function moveTo(revision: string, signal?: AbortSignal): Promise<void> {
    checkedId(revision);
    await requireSpace?.();
    try {
      if (!(await isOurDirectory(directory))) await mkdir(directory, { recursive: true, mode: 0o755 });
      const entries = await mirror.listTree(revision);
      const previous = await readCommitId(join(directory, '.git/HEAD'));
      await checkOut({ ...options, revision, entries, previous, signal }).catch(async (error: unknown) => {
        if (!(error instanceof GitError && error.kind === 'broken')) throw error;
        // Our repository is new on each move, so what is damaged is the mirror that its objects come from.
        await mirror.rebuild(signal);
        await checkOut({ ...options, revision, entries, previous: null, signal });
      });
    } catch (error) {
      if (error instanceof Error && 'syscall' in error)
        throw fileError(`The workspace ${directory} failed`, error);
      throw error;
    }
  }

  return { directory, moveTo };
}

interface Move {
  git: Git;
  mirror: Mirror;
  directory: string;
  revision: string;
  entries: readonly TreeEntry[];
  /** The commit that the files are from, or null when that is not known. */
  previous: string | null;
  signal: AbortSignal | undefined;
}

/**
 * Nothing in the old `.git` is believed, as tasks may write there: hooks, configuration, locks and an index with
 * planted bits go with it. The new index knows no file times, so `update-index` compares the content of every
 * tracked file, and the checkout writes those that differ.
 */
async function checkOut(move: Move): Promise<void> {
  const { git, directory, revision, signal } = move;
  const where = { gitDirectory: join(directory, '.git'), workTree: directory, signal };
  const what = `Checking out ${revision} in ${directory} failed`;
  await loadPreviousIndex(move, where);
  await git.read(what, ['checkout', '--quiet', '--force', '--detach', revision], where);
  await emptyNestedRepositories(directory, move.entries);
  await git.read(`Cleaning ${directory} failed`, ['clean', '--quiet', '-ffd'], where);
  const head = await readCommitId(join(directory, '.git/HEAD'));
  if (head !== revision) throw new GitError('broken', `${what}: it is at ${head ?? 'no commit'}.`);
}

/** Without the previous commit's index, files it had that are ignored now would stay. */
async function loadPreviousIndex(
  { git, mirror, directory, previous }: Move,
  where: { gitDirectory: string; workTree: string; signal: AbortSignal | undefined },
): Promise<void> {
  const repository = { workTree: directory, mirrorDirectory: mirror.directory };
  await renewWorkTreeRepository({ ...repository, head: previous });
  if (previous === null) return;
  const loaded = await git.run(['read-tree', previous], where);
  if (loaded.exitCode !== 0) {
    // The mirror may have been rebuilt after a forced push, and no longer have it.
    await renewWorkTreeRepository({ ...repository, head: null });
    return;
  }
  const refreshed = await git.run(['update-index', '-q', '--refresh'], where);
  // 1 only says that files differ.
  if (refreshed.exitCode > 1)
    throw gitFailure(`Comparing the files of ${directory} failed`, refreshed.stderr);
}

/** git never touches a `.git` below a tracked folder, nor anything inside a submodule's folder. */
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

/** Those of the paths at which there is anything. In portions, as there may be ten thousand folders. */
async function existing(paths: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (let start = 0; start < paths.length; start += PATHS_AT_ONCE) {
    const portion = paths.slice(start, start + PATHS_AT_ONCE);
    const stats = await Promise.all(portion.map((path) => lstat(path).catch(() => null)));
    found.push(...portion.filter((_, index) => stats[index] !== null));
  }
  return found;
}
