/** Decides which commit a sync works on: the newest requested one that is on the branch. */

import type { Mirror } from '../../git/own/mirror.ts';
import type { SyncRun } from '../../runs/run.ts';
import { meaningOf, type SyncPlace } from '../../runs/sync/sync-intent.ts';
import type { PipelineContext } from '../pipeline.ts';

export type SyncTarget = {
  /** Covered runs whose commits are not on the branch. They do not get the outcome of this run. */
  offBranch: readonly SyncRun[];
  /** The commit to sync. It contains the commits of all other covered runs. */
  commit: string;
} & (
  | { kind: 'commit' }
  /** `commit` is the head, because the requested `revision`, or that of an earlier attempt, is not on the branch. */
  | { kind: 'not_on_branch'; revision: string }
);

/**
 * Fetches the branch and chooses the commit. A requested commit that is on the branch is synced even if the branch has
 * moved on, unless the run had to wait and follows the branch. A run that was cut off continues at its commit and never
 * goes back. If several commits are coalesced, the commit that contains the others counts, whatever the order of the
 * deliveries.
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
  // This holds even if the run covers commits on the branch, because its own commit status must not report their success.
  const revision = own.find((other) => !isOnBranch(other));
  if (revision !== undefined) {
    return { kind: 'not_on_branch', revision, commit: head, offBranch };
  }
  // Only the commit that was shown is promoted.
  if (meaningOf(run).intent === 'promote' && commit !== null) {
    return { kind: 'commit', commit, offBranch: await notIn(mirror, covers, commit) };
  }
  const onBranch = [...new Set(asked.filter(isOnBranch))];
  const isHead = takesHead || onBranch.includes(head);
  const [newest = head, other] = isHead ? [head] : await newestOf(mirror, onBranch);
  // If there are two that do not contain each other, the head contains both.
  return { kind: 'commit', commit: other === undefined ? newest : head, offBranch };
}

/** The covered runs whose commits the commit does not contain. */
async function notIn(mirror: Mirror, covers: readonly SyncRun[], commit: string): Promise<SyncRun[]> {
  const others: SyncRun[] = [];
  for (const covered of covers) {
    const { revision } = covered.input;
    const newest = revision === null ? [] : await mirror.tips([commit, revision]);
    if (newest.length !== 1 || newest[0] !== commit) others.push(covered);
  }
  return others;
}

async function newestOf(mirror: Mirror, commits: string[]): Promise<string[]> {
  return commits.length > 1 ? mirror.tips(commits) : commits;
}
