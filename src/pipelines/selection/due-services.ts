/** Answers reconcile: which services at the branch head are not in the ledger, and is it time to try them? */

import type { LedgerEntry } from '../../runs/run-store.ts';
import { holdsOf } from '../../runs/sync/hold.ts';
import {
  type Drift,
  lookOutside,
  NOTHING_OUTSIDE,
  type OutsideOptions,
  type OutsideView,
  pauseAfter,
} from '../sync/outside.ts';
import { writeOwed } from '../sync/outside-writes.ts';
import type { SyncOptions } from '../sync/sync-service.ts';
import { environmentDigests } from '../sync/task-environment.ts';
import { explain } from './explain.ts';
import { ALL_CHANGED } from './select-services.ts';

interface DueOptions
  extends Pick<
    SyncOptions,
    'mirror' | 'ledger' | 'holds' | 'taskEnvironment' | 'outside' | 'lockPath' | 'environment' | 'now'
  > {
  /** How often a failed sync is tried again without a push or a person. */
  retries: number;
}

export interface Due {
  head: string;
  /** Services that a sync of the head would run or report as removed now. */
  services: string[];
  /** Failed services that have to wait. */
  postponed: string[];
  /** True if nothing is known of the branch yet. Then its head counts as deployed. */
  isNewBranch: boolean;
  /** The drifts that the last look did not find. */
  drifts: Drift[];
  /** Remarks about the place outside, one sentence each. */
  remarks: string[];
}

/** Fetches the branch and compares it with the ledger. Throws GitError if it cannot be fetched. */
export async function dueServices(options: DueOptions, scope: string, signal: AbortSignal): Promise<Due> {
  const { head } = await options.mirror.fetch();
  const ledger = await options.ledger(scope);
  if (ledger.baseline === null && ledger.entries.size === 0) {
    return { head, services: [], postponed: [], isNewBranch: true, drifts: [], remarks: [] };
  }
  const postponed = [...ledger.entries.values()]
    .filter((entry) => !isDue(entry, options))
    .map(({ service }) => service);
  const outside = options.outside
    ? await lookAndWrite(options, options.outside, scope, signal)
    : NOTHING_OUTSIDE;
  const { selected } = await explain({
    ...ALL_CHANGED,
    drifted: outside.drifted,
    repository: options.mirror,
    runId: '',
    revision: head,
    environment: options.environment,
    befores: [],
    ledger,
    holds: await options.holds(),
    postponed: new Set(postponed),
    environmentDigest: environmentDigests(options.taskEnvironment),
  });
  const decided = Map.groupBy(selected, ({ decision }) => decision);
  const running = decided.get('run') ?? [];
  // A run with removed services alone would only wait for the hold. They are reported with what runs after it.
  const removed = decided.has('held') && running.length === 0 ? [] : (decided.get('removed') ?? []);
  const services = [...running, ...removed].map(({ service }) => service);
  const drifts = [...outside.drifted.values()].filter(({ isNew }) => isNew);
  const remarks = outside.remarks.map(({ message }) => message);
  return { head, services, postponed, isNewBranch: false, drifts, remarks };
}

/**
 * Does nothing while a run is active, because its tasks may be changing the hashes, and it looks for itself. The hashes of
 * services that a hold stops are not written until it has ended.
 */
async function lookAndWrite(
  { lockPath, holds }: DueOptions,
  outside: OutsideOptions,
  scope: string,
  signal: AbortSignal,
): Promise<OutsideView> {
  if ((await outside.store.active(scope)).length > 0) return NOTHING_OUTSIDE;
  const view = await lookOutside(outside, scope, { patient: true, signal });
  if (view.unwritten.length === 0) return view;
  // A hold may have been set during the look.
  const standing = await holds();
  const hashes = view.unwritten.filter(({ service }) => holdsOf(service, standing).length === 0);
  if (hashes.length === 0) return view;
  const problems = await writeOwed(outside, scope, { lockPath, hashes, signal });
  const warnings = problems.map((message) => ({ level: 'warning' as const, message }));
  return { ...view, remarks: [...view.remarks, ...warnings] };
}

/**
 * Failed services wait longer each time. After the last retry they wait for a push or a person, as do services whose
 * sync a person has cancelled. New inputs are not a retry, and are due at once.
 */
function isDue(entry: LedgerEntry, { retries, now }: DueOptions): boolean {
  if (entry.outcome === 'cancelled') return false;
  if (entry.outcome !== 'failed' && entry.outcome !== 'started') return true;
  if (entry.attempts > retries) return false;
  const pauseMs = pauseAfter(entry.attempts);
  const waitMs = entry.attemptedAt + pauseMs - now();
  // An attempt in the future was stamped by a wrong clock.
  return waitMs <= 0 || waitMs > pauseMs;
}
