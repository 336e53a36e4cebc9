/** Which commit a sync works on: one that is on the branch, and the newest that was asked for. */

import type { Mirror } from '../git/mirror.ts';
import type { SyncRun } from '../runs/run.ts';
import { meaningOf } from '../runs/sync-intent.ts';

export type SyncTarget =
  | { kind: 'commit'; revision: string }
  /** The commit that was asked for is not on the branch any more, or never was. */
  | { kind: 'not_on_branch'; revision: string; head: string };

/**
 * Fetches the branch and picks the commit. A commit that is on the branch is worked on as itself even when the
 * branch has moved on, unless the run had to wait and follows the branch; of several coalesced ones the one that contains the others wins, in whatever order they
 * were delivered.
 */
export async function resolveTarget(
  mirror: Mirror,
  run: SyncRun,
  covers: readonly SyncRun[],
  signal: AbortSignal,
): Promise<SyncTarget> {
  const { head } = await mirror.fetch(signal);
  const { revision } = run.input;
  if (revision === null || revision === head) return { kind: 'commit', revision: head };
  const { takesHead } = meaningOf(run);
  const others = covers.map(({ input }) => input.revision ?? head);
  const wanted = [...new Set([revision, ...others])];
  const located = await mirror.locate(wanted);
  // Also when it covers commits that are on the branch: its own status must not tell of their success.
  if (located.get(revision) !== 'on_branch') return { kind: 'not_on_branch', revision, head };
  if (takesHead) return { kind: 'commit', revision: head };
  const onBranch = wanted.filter((other) => located.get(other) === 'on_branch');
  const [newest = revision] = onBranch.length > 1 ? await mirror.tips(onBranch) : onBranch;
  return { kind: 'commit', revision: newest };
}
