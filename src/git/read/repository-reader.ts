/** The questions that can be asked of a repository's commits: the same for a mirror, a clone and a scratch one. */

import type { Git } from '../git.ts';
import { type Commit, commit, descendants, type Location, locate, mergeBase } from './history.ts';
import { blobs, filesIn, followLinks, rootTrees } from './objects.ts';
import { changedPaths, listLevel, listTree, type TreeEntry, type TreePair } from './trees.ts';

export type { Location } from './history.ts';

export interface RepositoryReader {
  /** The branch head; null when there is none yet. */
  head(): Promise<string | null>;
  /** Which of these ids are commits here, and of the branch? */
  locate(revisions: readonly string[]): Promise<Map<string, Location>>;
  /** Commits of the branch that have `revision` among their ancestors, without itself. */
  descendants(revision: string): Promise<Set<string>>;
  /** The best common ancestor of two commits; null when they have none. */
  mergeBase(one: string, other: string): Promise<string | null>;
  /** Everything in a commit or tree, or only what is at or below `paths`; folders and submodules included. */
  listTree(revision: string, paths?: readonly string[]): Promise<TreeEntry[]>;
  /** Only what is at `paths`, or directly in those that end with a slash. */
  listLevel(revision: string, paths: readonly string[]): Promise<TreeEntry[]>;
  /** What is directly in each of these trees under one of the names; `path` is the name alone. */
  filesIn(trees: readonly string[], names: ReadonlySet<string>): Promise<Map<string, TreeEntry[]>>;
  /** The root trees of those that are commits here. */
  rootTrees(revisions: readonly string[]): Promise<Map<string, string>>;
  /** The content of files by blob id. */
  blobs(ids: readonly string[]): Promise<Map<string, Buffer>>;
  /** Path of a link → id of the file of the same commit that it leads to; links that lead to none are left out. */
  followLinks(revision: string, paths: readonly string[]): Promise<Map<string, string>>;
  /** Paths that differ, per pair of tree ids and in its order; null for a pair with a tree that is not here. */
  changedPaths(pairs: readonly TreePair[]): Promise<(string[] | null)[]>;
  commit(revision: string): Promise<Commit>;
}

export interface ReaderOptions {
  git: Git;
  /** Absolute. */
  directory: string;
  head(): Promise<string | null>;
  /** Stands around every question, for whoever can heal what it fails on. */
  guard?<T>(question: () => Promise<T>): Promise<T>;
}

/** Every question throws GitError. */
export function createReader(options: ReaderOptions): RepositoryReader {
  const { git, directory, head, guard = (question) => question() } = options;
  return {
    head,
    locate: (revisions) => guard(async () => locate(git, directory, revisions, await head())),
    descendants: (revision) => guard(async () => descendants(git, directory, revision, await head())),
    mergeBase: (one, other) => guard(() => mergeBase(git, directory, one, other)),
    listTree: (revision, paths) => guard(() => listTree(git, directory, revision, paths)),
    listLevel: (revision, paths) => guard(() => listLevel(git, directory, revision, paths)),
    filesIn: (trees, names) => guard(() => filesIn(git, directory, trees, names)),
    rootTrees: (revisions) => guard(() => rootTrees(git, directory, revisions)),
    blobs: (ids) => guard(() => blobs(git, directory, ids)),
    followLinks: (revision, paths) => guard(() => followLinks(git, directory, revision, paths)),
    changedPaths: (pairs) => guard(() => changedPaths(git, directory, pairs)),
    commit: (revision) => guard(() => commit(git, directory, revision)),
  };
}
