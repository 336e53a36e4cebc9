/** The questions about the commits of a repository: the same for a mirror, a clone and a scratch repository. */

import { GitError } from '../../errors.ts';
import type { RepositoryGit } from '../git.ts';
import {
  type Commit,
  commit,
  descendants,
  idsBeginningWith,
  type Location,
  locate,
  log,
  mergeBase,
} from './history.ts';
import { blobs, filesIn, followLinks, rootTrees } from './objects.ts';
import { changedPaths, listLevel, listTree, type TreeEntry, type TreePair } from './trees.ts';

export type { Location } from './history.ts';

export interface RepositoryReader {
  /** The branch head; null if there is none yet. */
  head(): Promise<string | null>;
  /** Says for each id whether the commit exists here, and whether it is on the branch. */
  locate(revisions: readonly string[]): Promise<Map<string, Location>>;
  /** The ids that begin with these hexadecimal digits, of commits and of other things. */
  idsBeginningWith(digits: string): Promise<string[]>;
  /** The commits of the branch that have `revision` among their ancestors, without `revision` itself. */
  descendants(revision: string): Promise<Set<string>>;
  /** The best common ancestor of two commits; null if they have none. */
  mergeBase(one: string, other: string): Promise<string | null>;
  /** Everything in a commit or tree, or only what is at or below `paths`; folders and submodules included. */
  listTree(revision: string, paths?: readonly string[]): Promise<TreeEntry[]>;
  /** Only what is at `paths`, or directly in those that end with a slash. */
  listLevel(revision: string, paths: readonly string[]): Promise<TreeEntry[]>;
  /** The entries directly in each of these trees that have one of the names; `path` is the name alone. */
  filesIn(trees: readonly string[], names: ReadonlySet<string>): Promise<Map<string, TreeEntry[]>>;
  /** The root trees of those revisions that are commits here. */
  rootTrees(revisions: readonly string[]): Promise<Map<string, string>>;
  /** The content of files by blob id. */
  blobs(ids: readonly string[]): Promise<Map<string, Buffer>>;
  /** Path of a link → id of the file of the same commit that it leads to. A link that leads to no file is left out. */
  followLinks(revision: string, paths: readonly string[]): Promise<Map<string, string>>;
  /** The paths that differ, for each pair of tree ids, in order; null for a pair with a tree that is not here. */
  changedPaths(pairs: readonly TreePair[]): Promise<(string[] | null)[]>;
  commit(revision: string): Promise<Commit>;
  /** The commits that `revision` has and none of `without` has, the newest first, at most `limit`. */
  log(revision: string, without: readonly string[], limit: number): Promise<Pick<Commit, 'id' | 'subject'>[]>;
}

export interface ReaderOptions {
  repository: RepositoryGit;
  head(): Promise<string | null>;
  /** The commits from which others are on the branch. Left out, only the head. */
  heads?(): Promise<string[]>;
  /** Called around every question, so that a caller can repair the repository and ask again. */
  guard?<T>(question: () => Promise<T>): Promise<T>;
}

/** Every question throws GitError. */
export function createReader(options: ReaderOptions): RepositoryReader {
  const { repository, head, guard = (question) => question() } = options;
  const heads = options.heads ?? (async () => [await head()].filter((id) => id !== null));
  return {
    head,
    locate: (revisions) => guard(async () => locate(repository, revisions, await heads())),
    idsBeginningWith: (digits) => guard(() => idsBeginningWith(repository, digits)),
    descendants: (revision) => guard(async () => descendants(repository, revision, await head())),
    mergeBase: (one, other) => guard(() => mergeBase(repository, one, other)),
    listTree: (revision, paths) => guard(() => listTree(repository, revision, paths)),
    listLevel: (revision, paths) => guard(() => listLevel(repository, revision, paths)),
    filesIn: (trees, names) => guard(() => filesIn(repository, trees, names)),
    rootTrees: (revisions) => guard(() => rootTrees(repository, revisions)),
    blobs: (ids) => guard(() => blobs(repository, ids)),
    followLinks: (revision, paths) => guard(() => followLinks(repository, revision, paths)),
    changedPaths: (pairs) => guard(() => changedPaths(repository, pairs)),
    commit: (revision) => guard(() => commit(repository, revision)),
    log: (revision, without, limit) => guard(() => log(repository, revision, without, limit)),
  };
}

/** Returns the paths that differ between two commits; a rename as both of its paths. */
export async function diffNames(reader: RepositoryReader, from: string, to: string): Promise<string[]> {
  const trees = await reader.rootTrees([from, to]);
  const treeOf = (commit: string): string => {
    const tree = trees.get(commit);
    if (tree !== undefined) return tree;
    throw new GitError('unknown_revision', `The commit ${commit} was not fetched.`, {
      nextAction: 'Check that it was pushed.',
    });
  };
  const [paths] = await reader.changedPaths([{ from: treeOf(from), to: treeOf(to) }]);
  if (!paths) throw new GitError('broken', `A tree of ${from} or ${to} is missing.`);
  return paths;
}
