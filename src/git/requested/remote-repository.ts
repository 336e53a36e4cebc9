/** One repository of a request: nothing of its mirror is used before its remote has answered to our credentials. */

import { GitError } from '../../errors.ts';
import { refProblem } from '../../runs/texts/git-ref.ts';
import { checkedId, type Git } from '../git.ts';
import {
  isDamage,
  type MirrorKeeper,
  type MirrorLog,
  type MirrorWork,
  mergePacks,
} from '../own/mirror-keeper.ts';
import { type NewBranch, openNewBranch } from '../own/new-branch.ts';
import { createReader, type RepositoryReader } from '../read/repository-reader.ts';
import { checkOutPlainly } from './plain-checkout.ts';
import {
  fetchCommit,
  knownCommit,
  type MirrorPlace,
  type NamedCommit,
  proveAccess,
} from './remote-commit.ts';

export interface RemoteRepository {
  /** Free of credentials. */
  url: string;
  /** The bare mirror, shared with others. */
  directory: string;
  /**
   * Finds a branch, tag or commit (its id, or seven digits of it and more); `HEAD` and full names such as
   * `refs/pull/7/head` too. Throws GitError: `unknown_revision` naming it, `unavailable`, `disk_full`.
   */
  fetch(ref: string, signal?: AbortSignal): Promise<NamedCommit>;
  /**
   * A checkout of a commit that was fetched, in a new directory of mode 0700, with a shallow repository of its own:
   * no credentials, no link to the mirror. Submodules are empty folders. Throws GitError.
   */
  checkOut(commit: string, directory: string, signal?: AbortSignal): Promise<void>;
  /** Paths that differ between two commits, renames as both of theirs. Throws GitError. */
  diffNames(from: string, to: string, signal?: AbortSignal): Promise<string[]>;
  /** `head` is what was fetched last. */
  reader: RepositoryReader;
  /** Ends what holds credentials. May be called more than once. */
  release(): Promise<void>;
}

/** One that we may write to, when its credentials allow it. */
export interface WritableRepository extends RemoteRepository {
  /** For a change that becomes a branch there; `directory` is for what that needs on the way. */
  openNewBranch(directory: string, signal?: AbortSignal): Promise<NewBranch>;
}

export interface RemoteRepositoryOptions {
  git: Git;
  directory: string;
  keeper: MirrorKeeper;
  log: MirrorLog;
  requireSpace?: (() => Promise<void>) | undefined;
  /** Comes before the remote is spoken to for the first time. */
  beforeUse(): Promise<void>;
  release(): Promise<void>;
}

export function createRemoteRepository(options: RemoteRepositoryOptions): WritableRepository {
  const { git, directory, keeper } = options;
  let begun: Promise<void> | null = null;
  let isProven = false;
  let head: string | null = null;

  function placeOf(mirror: string, signal: AbortSignal | undefined): MirrorPlace {
    return { git, directory: mirror, signal, onAnswer };
  }

  function onAnswer(): void {
    isProven = true;
  }

  function begin(): Promise<void> {
    begun ??= options.beforeUse();
    return begun;
  }

  async function prove(signal?: AbortSignal): Promise<void> {
    await begin();
    if (!isProven) await proveAccess(placeOf(directory, signal));
  }

  function bringing(ref: string): MirrorWork<NamedCommit> {
    return async (mirror, held) => {
      const found = await fetchCommit(placeOf(mirror, held), ref);
      await mergePacks(git, mirror, options.log, held);
      return found;
    };
  }

  async function fetch(ref: string, signal?: AbortSignal): Promise<NamedCommit> {
    const problem = refProblem(ref);
    if (problem !== null) {
      throw new GitError('unknown_revision', `${JSON.stringify(ref.slice(0, 80))} ${problem}.`, {
        nextAction: 'Name a branch, a tag or a commit.',
      });
    }
    await begin();
    const found =
      (await knownCommit(placeOf(directory, signal), ref)) ?? (await keeper.update(bringing(ref), signal));
    await prove(signal);
    head = found.commit;
    return found;
  }

  async function checkOut(commit: string, target: string, signal?: AbortSignal): Promise<void> {
    checkedId(commit);
    await prove(signal);
    await options.requireSpace?.();
    const operation = () =>
      checkOutPlainly({ git, mirrorDirectory: directory, commit, directory: target, signal });
    try {
      return await operation();
    } catch (error) {
      if (!isDamage(error)) throw error;
    }
    // It may only be gone: another run has rebuilt the mirror, or it is long unused.
    await keeper.update(bringing(commit), signal);
    await keeper.healing(operation, bringing(commit), signal);
  }

  const reader = createReader({
    git,
    directory,
    head: async () => head,
    guard: async (question) => {
      await prove();
      return keeper.healing(question, bringing(head ?? 'HEAD'));
    },
  });

  return {
    url: git.remote.url,
    directory,
    fetch,
    checkOut,
    reader,
    async openNewBranch(scratch, signal) {
      await prove(signal);
      await options.requireSpace?.();
      const fetchRef = async (ref: string) => {
        try {
          return (await fetch(ref, signal)).commit;
        } catch (error) {
          if (error instanceof GitError && error.kind === 'unknown_revision') return null;
          throw error;
        }
      };
      return openNewBranch({ git, directory: scratch, mirrorDirectory: directory, fetch: fetchRef, signal });
    },
    async diffNames(from, to, signal) {
      signal?.throwIfAborted();
      const trees = await reader.rootTrees([from, to]);
      const [one, other] = [treeOf(trees, from), treeOf(trees, to)];
      const [paths] = await reader.changedPaths([{ from: one, to: other }]);
      if (!paths) throw new GitError('broken', `${directory} lacks a tree of ${from} or ${to}.`);
      return paths;
    },
    release: options.release,
  };
}

function treeOf(trees: ReadonlyMap<string, string>, commit: string): string {
  const tree = trees.get(commit);
  if (tree !== undefined) return tree;
  throw new GitError('unknown_revision', `The commit ${commit} was not fetched.`, {
    nextAction: 'Check that it was pushed.',
  });
}
