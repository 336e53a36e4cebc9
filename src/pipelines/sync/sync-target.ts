/** Which commit a sync works on: one that is on the branch, and the newest that was asked for. */

import type { Mirror } from '../../git/own/mirror.ts';
import type { SyncRun } from '../../runs/run.ts';
import type { SyncPlace } from '../../runs/sync-intent.ts';
import type { PipelineContext } from '../pipeline.ts';

export type SyncTarget = {
  /** Covered runs whose commits are not on the branch, so that they have no part in the outcome. */
  offBranch: readonly SyncRun[];
  /** What is worked on, and contains the commits of all other covered runs; or the head that is synced instead. */
  commit: string;
} & (
  | { kind: 'commit' }
  /** The commit that was asked for, or that an attempt before was at, is not on the branch any more, or never was. */
  | { kind: 'not_on_branch'; revision: string }
);

/**
 * Fetches the branch and picks the commit. A commit that is on the branch is worked on as itself even when the
 * branch has moved on, unless the run had to wait and follows the branch. A run whose steps were cut off goes on at
 * the commit that it was at, and never goes back. Of several coalesced ones the one that contains the others wins, in
 * whatever order they were delivered.
 */
export async function resolveTarget(
  mirror: Mirror,
  { run, covers, signal }: PipelineContext<'sync'>,
  { commit, takesHead }: SyncPlace,
): Promise<SyncTarget> {
  const { head } = await mirror.fetch(signal);
  const own = [run.input.revision ?? head, commit ?? head];
  const asked = [commit ?? head, ...covers.map(({ input }) => input.revision ?? head)];
  const wanted = [...new Set([...own, ...asked])].filter((other) => other !== head);
  const located = wanted.length > 0 ? await mirror.locate(wanted) : null;
  const isOnBranch = (other: string | null): boolean =>
    other === null || other === head || located?.get(other) === 'on_branch';
  const offBranch = covers.filter(({ input }) => !isOnBranch(input.revision));
  // Also when it covers commits that are on the branch: its own status must not tell of their success.
  const revision = own.find((other) => !isOnBranch(other));
  if (revision !== undefined) {
    return { kind: 'not_on_branch', revision, commit: head, offBranch };
  }
  const onBranch = [...new Set(asked.filter(isOnBranch))];
  const isHead = takesHead || onBranch.includes(head);
  const [newest = head, other] = isHead ? [head] : await newestOf(mirror, onBranch);
  // Of two that do not contain each other, the head contains both.
  return { kind: 'commit', commit: other === undefined ? newest : head, offBranch };
}

async function newestOf(mirror: Mirror, commits: string[]): Promise<string[]> {
  return commits.length > 1 ? mirror.tips(commits) : commits;
}
