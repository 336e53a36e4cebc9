/** Which commit a sync works on: one that is on the branch, and the newest that was asked for. */

import { GitError } from '../errors.ts';
import type { Mirror } from '../git/mirror.ts';
import type { SyncInput, SyncRun } from '../runs/run.ts';

export type SyncTarget =
  | { kind: 'commit'; revision: string }
  /** None of the wanted commits is on the branch any more, or ever was. */
  | { kind: 'not_on_branch'; revision: string; head: string };

/**
 * Fetches the branch and picks the commit. A commit that is on the branch is worked on as itself even when the
 * branch has moved on; of several coalesced ones the one that contains the others wins, in whatever order they
 * were delivered.
 */
export async function resolveTarget(
  mirror: Mirror,
  run: SyncRun,
  covers: readonly SyncRun[],
  signal: AbortSignal,
): Promise<SyncTarget> {
  const { head } = await mirror.fetch(signal);
  const inputs: SyncInput[] = [run, ...covers].map(({ input }) => input);
  if (inputs.some(({ revision }) => revision === null)) return { kind: 'commit', revision: head };
  const wanted = inputs.flatMap(({ revision }) => (revision === null ? [] : [revision]));
  if (wanted.includes(head)) return { kind: 'commit', revision: head };
  const located = await mirror.locate(wanted);
  const onBranch = wanted.filter((revision) => located.get(revision) === 'on_branch');
  const [newest] = onBranch.length > 1 ? await mirror.tips(onBranch) : onBranch;
  if (newest) return { kind: 'commit', revision: newest };
  const [revision] = wanted;
  if (revision === undefined) throw new GitError('unknown_revision', 'The run names no commit.');
  return { kind: 'not_on_branch', revision, head };
}
