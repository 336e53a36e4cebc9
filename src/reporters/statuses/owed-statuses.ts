/** Decides which commit statuses are left to send to GitHub, and settles the ones that it shows already. */

import type { CommitStatus } from '../../runs/kinds/kind.ts';
import { blankReport, type Report, type ReporterName } from '../../runs/report.ts';
import type { Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { type GitHubTarget, type LaneOf, repositoryKey, type TargetOf } from '../github-target.ts';
import type { Owed } from '../outbox/outbox.ts';
import type { SetAside } from '../outbox/set-aside.ts';
import { readUnreported, settleRuns } from '../outbox/unreported-runs.ts';

export type ReportingStore = Pick<
  RunStore,
  'run' | 'unreported' | 'reports' | 'saveReport' | 'settleRun' | 'watch'
>;

/** One kind of commit statuses: those of runs, or those of services. */
export interface StatusKind {
  reporter: ReporterName;
  /**
   * Returns the statuses that the run should have now; null if it has none and never will. `known` are runs as they were
   * at one moment. Runs that are read are added to it.
   */
  statusesOf(run: Run, known: Map<string, Run | null>, to: GitHubTarget): Promise<StatusesOfRun | null>;
}

/** The statuses of one run. */
export interface StatusesOfRun {
  /** The run whose outcome this is, and whose page the statuses link to. */
  source: Run;
  /** No later status of this run will follow. */
  isFinal: boolean;
  /** The statuses may use the reserved part of the limits. */
  isPromised: boolean;
  /** The statuses are about the commit that was worked on. They are sent first. */
  isOwn: boolean;
  /** Which statuses count if the last ones of a commit are kept for outcomes. Null: the commit has few statuses. */
  keepsSpace: 'context' | 'commit' | null;
  reports: readonly Report[];
  shown: readonly ShownStatus[];
}

interface ShownStatus {
  /** The target of its report. */
  target: string;
  /** Full commit id. */
  sha: string;
  status: CommitStatus;
  /** The part of the run's page that the status links to, such as `#step-1`, or ''. */
  anchor: string;
}

/** One status of a run on one commit. */
export interface OwedStatus extends Owed, Omit<ShownStatus, 'target'> {
  to: GitHubTarget;
  source: Run;
  isFinal: boolean;
  isOwn: boolean;
  keepsSpace: StatusesOfRun['keepsSpace'];
  /** When the status became final, in ms since the epoch. Infinite until then. */
  endedAt: number;
  /** True if the store has the report. A target that is met for the first time has a blank report that is not stored. */
  stored: boolean;
}

export interface OwedStatusOptions {
  store: ReportingStore;
  kind: StatusKind;
  targetOf: TargetOf;
  laneOf: LaneOf;
}

/** The status that was sent, as `Report.sent` stores it. */
export function sentWords(status: CommitStatus): string {
  return `${status.state}: ${status.description}`;
}

/**
 * Reads the statuses that are left to send, the most urgent first: final states in the order in which they were reached,
 * then pending states by the age of their run. Settles every status that GitHub shows for good.
 */
export async function readOwedStatuses(options: OwedStatusOptions, aside: SetAside): Promise<OwedStatus[]> {
  const byRun = await readUnsettledRuns(options, aside);
  const owed: OwedStatus[] = [];
  const settleOne = (status: OwedStatus, problem: string | null): Promise<unknown> =>
    aside.guard(status.run, () => settle(options, byRun.get(status.run.id) ?? [], status, problem));
  for (const statuses of Map.groupBy([...byRun.values()].flat(), placeOf).values()) {
    const newest = statuses.reduce((before, next) => (next.endedAt >= before.endedAt ? next : before));
    if (!newest.report.settled && isNews(newest)) {
      owed.push(newest);
      continue;
    }
    // The commit shows the newest status, and older ones must not overwrite it. The newest is settled last: if it were
    // settled first and the process ended here, an older one would take its place.
    const problem = newest.report.settled ? newest.report.problem : null;
    for (const status of statuses) {
      if (status !== newest) await settleOne(status, problem);
    }
    await settleOne(newest, problem);
  }
  return owed.toSorted((a, b) => rank(a) - rank(b) || (a.isFinal && b.isFinal ? a.endedAt - b.endedAt : 0));
}

/** The place at GitHub where only the newest of several statuses is shown. */
function placeOf({ to, sha, status }: OwedStatus): string {
  return `${repositoryKey(to)} ${sha} ${status.context.toLowerCase()}`;
}

/** Outcomes come before pending states. */
function rank({ status, isOwn }: OwedStatus): number {
  return (status.state === 'pending' ? 2 : 0) + (isOwn ? 0 : 1);
}

function isNews({ report, status, isFinal, run, source }: OwedStatus): boolean {
  if (report.sent === sentWords(status)) return false;
  // A covered commit that shows pending stays so until the end, because each step in between would cost a write.
  const showsPending = report.sent?.startsWith('pending: ') === true;
  return isFinal || source.id === run.id || !showsPending;
}

/** Returns the statuses of each unreported run, the oldest run first. A run without a status is settled at once. */
async function readUnsettledRuns(
  { store, kind, targetOf, laneOf }: OwedStatusOptions,
  aside: SetAside,
): Promise<Map<string, OwedStatus[]>> {
  const runs = await readUnreported({
    store,
    reporter: kind.reporter,
    laneOf(run) {
      const to = targetOf(run);
      return to && laneOf(to);
    },
  });
  // All runs are taken as they were at one moment. A run that is read again later may have ended before runs that it covers.
  const known = new Map<string, Run | null>(runs.map((run) => [run.id, run]));
  const byRun = new Map<string, OwedStatus[]>();
  const without: Run[] = [];
  for (const run of runs) {
    await aside.guard(run, async () => {
      const to = targetOf(run);
      const found = to && (await kind.statusesOf(run, known, to));
      if (!to || !found) {
        without.push(run);
        return;
      }
      const statuses = owedOf(kind, run, to, found);
      if (found.isFinal && statuses.every(({ report }) => report.settled)) without.push(run);
      if (statuses.length > 0) byRun.set(run.id, statuses);
    });
  }
  await settleRuns({ store }, kind.reporter, without, aside);
  return byRun;
}

function owedOf({ reporter }: StatusKind, run: Run, to: GitHubTarget, found: StatusesOfRun): OwedStatus[] {
  const { source, isFinal, isPromised, isOwn, keepsSpace, reports } = found;
  // A run that awaits an approval does not hide what ended after it was asked for.
  const isAwaiting = source.state === 'awaiting_approval' && source.attempt === 0;
  const pendingAt = isAwaiting ? source.createdAt : Number.POSITIVE_INFINITY;
  const endedAt = isFinal ? (source.finishedAt ?? source.createdAt) : pendingAt;
  const shared = { run, to, source, isFinal, promised: isPromised, isOwn, keepsSpace, endedAt };
  return found.shown.map(({ target, ...shown }) => {
    const known = reports.find((report) => report.target === target);
    const report = known ?? blankReport(reporter, run.id, target);
    return { ...shared, ...shown, report, stored: known !== undefined };
  });
}

/** Settles one final status, and its run if it was the last. `ofRun` holds all statuses of the run. */
async function settle(
  { store, kind }: OwedStatusOptions,
  ofRun: OwedStatus[],
  status: OwedStatus,
  problem: string | null,
): Promise<void> {
  if (!status.isFinal || status.report.settled) return;
  status.report = { ...status.report, settled: true, problem };
  const isLast = ofRun.every(({ report }) => report.settled);
  // Hundreds of superseded runs may end at once, so a report without content is not written.
  if (status.stored || problem !== null || !isLast) await store.saveReport(status.report);
  if (isLast) await store.settleRun(kind.reporter, status.run.id);
}
