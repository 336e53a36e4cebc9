/** What reconcile asks: does the branch head hold anything that the ledger does not, and is it time to try it? */

import type { Mirror } from '../../git/own/mirror.ts';
import type { Ledger, LedgerEntry } from '../../runs/run-store.ts';
import { digest } from '../rules/snapshot.ts';
import { environmentLines } from '../sync/config-hash.ts';
import {
  type Drift,
  lookOutside,
  NOTHING_OUTSIDE,
  type OutsideOptions,
  type OutsideView,
} from '../sync/outside.ts';
import { writeOwed } from '../sync/outside-writes.ts';
import { explain } from './explain.ts';

const FIRST_PAUSE_MS = 60_000;
const LONGEST_PAUSE_MS = 3_600_000;

export interface DueOptions {
  mirror: Mirror;
  ledger(scope: string): Promise<Ledger>;
  taskEnvironment: Readonly<Record<string, string>>;
  /** Where config hashes also stand; null: nowhere. */
  outside: OutsideOptions | null;
  workspaceDir: string;
  /** How often a failed sync is tried again by itself. */
  retries: number;
  now(): number;
}

export interface Due {
  head: string;
  /** Services that a sync of the head would run or report as removed now. */
  services: string[];
  /** Failed services to be left alone this time. */
  postponed: string[];
  /** True when the branch is met for the first time: what it holds is taken as deployed. */
  firstMeeting: boolean;
  /** Services found changed outside that were not so, or otherwise, at the last look. */
  drifts: Drift[];
  /** What is to be said about the place outside, one sentence each. */
  remarks: string[];
}

/** Fetches the branch and compares. Throws GitError when it cannot be fetched. */
export async function dueServices(options: DueOptions, scope: string, signal: AbortSignal): Promise<Due> {
  const { head } = await options.mirror.fetch();
  const ledger = await options.ledger(scope);
  if (ledger.baseline === null && ledger.entries.size === 0) {
    return { head, services: [], postponed: [], firstMeeting: true, drifts: [], remarks: [] };
  }
  const postponed = [...ledger.entries.values()]
    .filter((entry) => !isDue(entry, options))
    .map(({ service }) => service);
  const outside = options.outside
    ? await lookAndWrite(options, options.outside, scope, signal)
    : NOTHING_OUTSIDE;
  const { selected } = await explain({
    ...options,
    drifted: outside.drifted,
    repository: options.mirror,
    runId: '',
    revision: head,
    befores: [],
    ledger,
    selection: { mode: 'changed' },
    force: false,
    rollback: false,
    unpin: false,
    postponed,
    environmentDigest: digest(environmentLines(options.taskEnvironment)),
  });
  const services = selected
    .filter(({ decision }) => decision === 'run' || decision === 'removed')
    .map(({ service }) => service);
  const drifts = [...outside.drifted.values()].filter(({ isNew }) => isNew);
  const remarks = outside.remarks.map(({ message }) => message);
  return { head, services, postponed, firstMeeting: false, drifts, remarks };
}

/** A run at work looks for itself, and its tasks may be changing what stands outside. */
async function lookAndWrite(
  { workspaceDir }: DueOptions,
  outside: OutsideOptions,
  scope: string,
  signal: AbortSignal,
): Promise<OutsideView> {
  if ((await outside.store.active(scope)).length > 0) return NOTHING_OUTSIDE;
  const view = await lookOutside(outside, scope, { patient: true, signal });
  if (view.unwritten.length === 0) return view;
  const problems = await writeOwed(outside, scope, { workspaceDir, hashes: view.unwritten, signal });
  return { ...view, remarks: [...view.remarks, ...problems.map(asWarning)] };
}

function asWarning(message: string): OutsideView['remarks'][number] {
  return { level: 'warning', message };
}

/**
 * Failures wait longer each time, and after the last retry for a push or a person. What a person cancelled
 * waits for them too. New inputs are not a retry: they are due at once.
 */
function isDue(entry: LedgerEntry, { retries, now }: DueOptions): boolean {
  if (entry.outcome === 'cancelled') return false;
  if (entry.outcome !== 'failed' && entry.outcome !== 'started') return true;
  if (entry.attempts > retries) return false;
  const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** (entry.attempts - 1), LONGEST_PAUSE_MS);
  const waitMs = entry.attemptedAt + pauseMs - now();
  // An attempt that lies ahead was stamped by a clock that was wrong.
  return waitMs <= 0 || waitMs > pauseMs;
}
