/** One repository of a request. Nothing of its mirror is used before its remote has answered to our credentials. */

import { GitError } from '../../errors.ts';
import { refProblem } from '../../runs/texts/git-ref.ts';
import { checkedId, type Git, inRepository } from '../git.ts';
import {
  isDamage,
  type MirrorKeeper,
  type MirrorLog,
  type MirrorWork,
  mergePacks,
} from '../own/mirror-keeper.ts';
import { type NewBranch, openNewBranch } from '../own/new-branch.ts';
import { createReader, diffNames, type RepositoryReader } from '../read/repository-reader.ts';
import { checkOutPlainly } from './plain-checkout.ts';
import {
  fetchCommit,
  knownCommit,
  type NamedCommit,
  proveAccess,
  type RemoteMirror,
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
   * Checks out a commit that was fetched, in a new directory of mode 0700, with a shallow repository of its own:
   * no credentials, no link to the mirror. Submodules are empty folders. Throws GitError.
   */
  checkOut(commit: string, directory: string, signal?: AbortSignal): Promise<void>;
  /** The paths that differ between two commits; a rename as both of its paths. Throws GitError. */
  diffNames(from: string, to: string, signal?: AbortSignal): Promise<string[]>;
  /** `head` is the commit that was fetched last. */
  reader: RepositoryReader;
  /** Ends what has the credentials. May be called more than once. */
  release(): Promise<void>;
}

/** A repository that this program may write to, if the credentials allow it. */
export interface WritableRepository extends RemoteRepository {
  /** Prepares a change that becomes a branch there. `directory` is for its temporary files. */
  openNewBranch(directory: string, signal?: AbortSignal): Promise<NewBranch>;
}

export interface RemoteRepositoryOptions {
  git: Git;
  directory: string;
  keeper: MirrorKeeper;
  log: MirrorLog;
  requireSpace?: (() => Promise<void>) | undefined;
  /** Called before the first use of the remote. */
  beforeUse(): Promise<void>;
  release(): Promise<void>;
}

export function createRemoteRepository(options: RemoteRepositoryOptions): WritableRepository {
  const { git, directory, keeper, requireSpace } = options;
  const access = createAccess(options);
  const repository = inRepository(git, { gitDirectory: directory });
  let head: string | null = null;

  async function fetch(ref: string, signal?: AbortSignal): Promise<NamedCommit> {
    requireRef(ref);
    await access.prepare();
    const known = await knownCommit(access.mirror(directory, signal), ref);
    const found = known ?? (await keeper.update(access.fetching(ref), signal));
    await access.prove(signal);
    head = found.commit;
    return found;
  }

  const reader = createReader({
    repository,
    head: async () => head,
    guard: async (question) => {
      await access.prove();
      return keeper.healing(question, access.fetching(head ?? 'HEAD'));
    },
  });

  return {
    url: git.remote.url,
    directory,
    fetch,
    reader,
    release: options.release,
    async checkOut(commit, target, signal) {
      checkedId(commit);
      await access.prove(signal);
      await requireSpace?.();
      await checkOutWhole(options, access.fetching(commit), { commit, directory: target, signal });
    },
    async openNewBranch(scratch, signal) {
      await access.prove(signal);
      await requireSpace?.();
      const fetchRef = (ref: string) => fetch(ref, signal).then(({ commit }) => commit, nullIfUnknown);
      return openNewBranch({ git, directory: scratch, mirrorDirectory: directory, fetch: fetchRef, signal });
    },
    async diffNames(from, to, signal) {
      signal?.throwIfAborted();
      return diffNames(reader, from, to);
    },
  };
}

/** Checks out, and fetches the commit again if the mirror is damaged or lacks it. */
async function checkOutWhole(
  { git, directory, keeper }: RemoteRepositoryOptions,
  work: MirrorWork<NamedCommit>,
  target: { commit: string; directory: string; signal: AbortSignal | undefined },
): Promise<void> {
  const operation = () => checkOutPlainly({ git, mirrorDirectory: directory, ...target });
  try {
    return await operation();
  } catch (error) {
    if (!isDamage(error)) throw error;
  }
  // The commit may only be missing: another run has rebuilt the mirror, or removed it after long disuse.
  await keeper.update(work, target.signal);
  await keeper.healing(operation, work, target.signal);
}

/** Proves once that the remote answers to our credentials, and binds git to the mirror. */
function createAccess({ git, directory, log, beforeUse }: RemoteRepositoryOptions) {
  let prepared: Promise<void> | null = null;
  let isProven = false;
  const onAnswer = (): void => {
    isProven = true;
  };
  const mirror = (gitDirectory: string, signal?: AbortSignal): RemoteMirror => ({
    ...inRepository(git, { gitDirectory, signal }),
    onAnswer,
  });
  function prepare(): Promise<void> {
    prepared ??= beforeUse();
    return prepared;
  }
  return {
    mirror,
    prepare,
    /** Returns the work that fetches a commit into the mirror. */
    fetching(ref: string): MirrorWork<NamedCommit> {
      return async (place, held) => {
        const found = await fetchCommit(mirror(place, held), ref);
        await mergePacks(mirror(place, held), log);
        return found;
      };
    },
    async prove(signal?: AbortSignal): Promise<void> {
      await prepare();
      if (!isProven) await proveAccess(mirror(directory, signal));
    },
  };
}

function requireRef(ref: string): void {
  const problem = refProblem(ref);
  if (problem === null) return;
  throw new GitError('unknown_revision', `${JSON.stringify(ref.slice(0, 80))} ${problem}.`, {
    nextAction: 'Name a branch, a tag or a commit.',
  });
}

function nullIfUnknown(error: unknown): null {
  if (error instanceof GitError && error.kind === 'unknown_revision') return null;
  throw error;
}
