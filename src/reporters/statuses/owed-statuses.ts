/** Derives from the stored runs which commit statuses GitHub should show, and settles the ones that it shows already. */

import type { CommitStatus } from '../../runs/kinds/kind.ts';
import { blankReport } from '../../runs/report.ts';
import type { Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { Owed } from '../outbox/outbox.ts';
import type { SetAside } from '../outbox/set-aside.ts';
import { commitStatus, isPromise, sharesOutcome, statusTargets } from './commit-status.ts';

export type ReportingStore = Pick<
  RunStore,
  'run' | 'unreported' | 'reports' | 'saveReport' | 'settleRun' | 'watch'
>;

/** The status of one run on one commit. */
export interface OwedStatus extends Owed {
  /** The run whose outcome this is, and whose page the status links to. */
  source: Run;
  status: CommitStatus;
  /** No later status of this run will follow. */
  final: boolean;
  /** When the status became final, in ms since the epoch. Infinite until then. */
  endedAt: number;
  /** True if the store has the report. A target that is met for the first time has a blank report that is not stored. */
  stored: boolean;
}

const REPORTER = 'commit-status';
/** If more runs are unreported, the newer ones wait. The oldest come first, so that news arrives in order. */
const READ_LIMIT = 1_000;

/** The status that was sent, as `Report.sent` stores it. */
export function sentWords(status: CommitStatus): string {
  return `${status.state}: ${status.description}`;
}

/**
 * Reads the statuses that are left to send, the most urgent first: final states in the order in which they were reached,
 * then pending states by the age of their run. Settles every status that GitHub shows for good.
 */
export async function readOwedStatuses(store: ReportingStore, aside: SetAside): Promise<OwedStatus[]> {
  const byRun = await readUnsettledRuns(store, aside);
  const byTarget = Map.groupBy(
    [...byRun.values()].flat(),
    ({ run, report }) => `${run.kind} ${report.target}`,
  );
  const owed: OwedStatus[] = [];
  const settleOne = (status: OwedStatus, problem: string | null): Promise<unknown> =>
    aside.guard(status.run, () => settle(store, byRun.get(status.run.id) ?? [], status, problem));
  for (const statuses of byTarget.values()) {
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
  return owed.toSorted((a, b) => rank(a) - rank(b) || (a.final && b.final ? a.endedAt - b.endedAt : 0));
}

/** Final before pending. Commits that runs really worked on come before those that they only cover or preview. */
function rank({ final, run, source }: OwedStatus): number {
  return (final ? 0 : 2) + (source.id === run.id && isPromise(run) ? 0 : 1);
}

function isNews({ report, status, final, run, source }: OwedStatus): boolean {
  if (report.sent === sentWords(status)) return false;
  // A covered commit that shows pending stays so until the end, because each step in between would cost a write.
  const showsPending = report.sent?.startsWith('pending: ') === true;
  return final || source.id === run.id || !showsPending;
}

/** Returns the statuses of each unreported run, the oldest run first. A run without a status is settled at once. */
async function readUnsettledRuns(store: ReportingStore, aside: SetAside): Promise<Map<string, OwedStatus[]>> {
  const runs = await store.unreported(REPORTER, READ_LIMIT);
  // All runs are taken as they were at one moment. A run that is read again later may have ended before runs that it covers.
  const known = new Map<string, Run | null>(runs.map((run) => [run.id, run]));
  const byRun = new Map<string, OwedStatus[]>();
  for (const run of runs) {
    const statuses = await aside.guard(run, () => readUnsettled(store, run, known));
    if (statuses !== null && statuses.length > 0) byRun.set(run.id, statuses);
  }
  return byRun;
}

async function readUnsettled(
  store: ReportingStore,
  run: Run,
  known: Map<string, Run | null>,
): Promise<OwedStatus[]> {
  const source = await readSource(store, run, known);
  const status = commitStatus(run, source);
  const statuses = status ? await readStatuses(store, run, source, status) : [];
  const mayChange = status?.state === 'pending';
  if (!mayChange && statuses.every(({ report }) => report.settled)) {
    await store.settleRun(REPORTER, run.id);
  }
  return statuses;
}

/** Returns the run whose outcome `run` shares: itself, or the last in the chain of runs that cover it. */
async function readSource(store: ReportingStore, run: Run, known: Map<string, Run | null>): Promise<Run> {
  let source = run;
  const passed = new Set<string>();
  while (!passed.has(source.id)) {
    const id = nextSource(source, run);
    if (id === null) return source;
    passed.add(source.id);
    const covering = known.has(id) ? known.get(id) : await store.run(id);
    known.set(id, covering ?? null);
    if (!covering) return source;
    source = covering;
  }
  return source;
}

/** A run that is not on the branch has its own outcome, but the runs that it covered are synced by its successor. */
function nextSource(source: Run, run: Run): string | null {
  const isFollowed = source.id !== run.id && source.reason === 'not_on_branch';
  return isFollowed || sharesOutcome(source) ? source.coveredBy : null;
}

async function readStatuses(
  store: ReportingStore,
  run: Run,
  source: Run,
  status: CommitStatus,
): Promise<OwedStatus[]> {
  const reports = await store.reports(REPORTER, run.id);
  // A commit that got a status stays a target even if the run has moved on, because its pending state must end.
  const targets = new Set([...statusTargets(run), ...reports.map(({ target }) => target)]);
  const final = status.state !== 'pending';
  const endedAt = final ? (source.finishedAt ?? source.createdAt) : Number.POSITIVE_INFINITY;
  const promised = final && isPromise(run);
  return [...targets].map((target) => {
    const known = reports.find((report) => report.target === target);
    const report = known ?? blankReport(REPORTER, run.id, target);
    return { run, source, status, final, promised, endedAt, report, stored: known !== undefined };
  });
}

/** Settles one final status, and its run if it was the last. `ofRun` holds all statuses of the run. */
async function settle(
  store: ReportingStore,
  ofRun: OwedStatus[],
  status: OwedStatus,
  problem: string | null,
): Promise<void> {
  if (!status.final || status.report.settled) return;
  status.report = { ...status.report, settled: true, problem };
  const isLast = ofRun.every(({ report }) => report.settled);
  // Hundreds of superseded runs may end at once, so a report without content is not written.
  if (status.stored || problem !== null || !isLast) await store.saveReport(status.report);
  if (isLast) await store.settleRun(REPORTER, status.run.id);
}
