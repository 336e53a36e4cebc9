/** Derives from the stored runs which commit statuses GitHub should show, and settles what it already shows. */

import type { CommitStatus } from '../../runs/kinds/kind.ts';
import type { Run } from '../../runs/run.ts';
import { blankReport, type Report, type RunStore } from '../../runs/run-store.ts';
import type { SetAside } from '../outbox/set-aside.ts';
import { commitStatus, isPromise, sharesOutcome, statusTargets } from './commit-status.ts';

export type ReportingStore = Pick<
  RunStore,
  'run' | 'unreported' | 'reports' | 'saveReport' | 'settleRun' | 'watch'
>;

/** What one run has to say on one commit. */
export interface OwedStatus {
  run: Run;
  /** The run whose outcome it is, and whose page the status links to. */
  source: Run;
  status: CommitStatus;
  /** No later status of this run will follow. */
  final: boolean;
  /** When it became final, in ms since the epoch; infinite before. */
  endedAt: number;
  report: Report;
  /** Whether the store knows the report. A blank one is made up for a target met for the first time. */
  stored: boolean;
}

const REPORTER = 'commit-status';
/** More unreported runs than this wait for their turn; oldest first, so news still arrives in order. */
const READ_LIMIT = 1_000;

/** What was told, as kept in `Report.told`. */
export function toldWords(status: CommitStatus): string {
  return `${status.state}: ${status.description}`;
}

/**
 * Reads what is left to tell, the most pressing first: final states by the time they were reached, then pending
 * ones by the age of their run. On the way everything that has been told for good is settled.
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
    const speaker = statuses.reduce((newest, next) => (next.endedAt >= newest.endedAt ? next : newest));
    if (!speaker.report.settled && isNews(speaker)) {
      owed.push(speaker);
      continue;
    }
    // The newest news stands on the commit; what is older must not overwrite it. The speaker is settled last:
    // were it gone first and we cut off here, the next one would take its place.
    const problem = speaker.report.settled ? speaker.report.problem : null;
    for (const status of statuses) {
      if (status !== speaker) await settleOne(status, problem);
    }
    await settleOne(speaker, problem);
  }
  return owed.toSorted((a, b) => rank(a) - rank(b) || (a.final && b.final ? a.endedAt - b.endedAt : 0));
}

/** Final before pending, and the commits really worked on before those they cover and those only looked at. */
function rank({ final, run, source }: OwedStatus): number {
  return (final ? 0 : 2) + (source.id === run.id && isPromise(run) ? 0 : 1);
}

function isNews({ report, status, final, run, source }: OwedStatus): boolean {
  if (report.told === toldWords(status)) return false;
  // A covered commit that shows pending stays so until the end: the steps in between would cost a write each.
  const showsPending = report.told?.startsWith('pending: ') === true;
  return final || source.id === run.id || !showsPending;
}

/** The statuses of each unreported run, oldest run first. A run with nothing to say is settled at once. */
async function readUnsettledRuns(store: ReportingStore, aside: SetAside): Promise<Map<string, OwedStatus[]>> {
  const runs = await store.unreported(REPORTER, READ_LIMIT);
  // All as they were at one moment: a run read again may have ended, and so those it covers before itself.
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
  const mayStillSpeak = status?.state === 'pending';
  if (!mayStillSpeak && statuses.every(({ report }) => report.settled)) {
    await store.settleRun(REPORTER, run.id);
  }
  return statuses;
}

/** The run whose outcome `run` has: itself, or the end of its chain of covering runs and of those that follow them. */
async function readSource(store: ReportingStore, run: Run, known: Map<string, Run | null>): Promise<Run> {
  let source = run;
  const passed = new Set<string>();
  while (!passed.has(source.id)) {
    const id = passesOn(source, run);
    if (id === null) return source;
    passed.add(source.id);
    const covering = known.has(id) ? known.get(id) : await store.run(id);
    known.set(id, covering ?? null);
    if (!covering) return source;
    source = covering;
  }
  return source;
}

/** One that is not on the branch has its own outcome, but those that it covered are synced by what follows it. */
function passesOn(source: Run, run: Run): string | null {
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
  // A commit once told of stays a target, whatever the run has moved on to: its pending state must end.
  const targets = new Set([...statusTargets(run), ...reports.map(({ target }) => target)]);
  const final = status.state !== 'pending';
  const endedAt = final ? (source.finishedAt ?? source.createdAt) : Number.POSITIVE_INFINITY;
  return [...targets].map((target) => {
    const report = reports.find((known) => known.target === target);
    return {
      run,
      source,
      status,
      final,
      endedAt,
      report: report ?? blankReport(REPORTER, run.id, target),
      stored: report !== undefined,
    };
  });
}

/** Settles one final status, and its run when it was the last. `ofRun` are all statuses of that run. */
async function settle(
  store: ReportingStore,
  ofRun: OwedStatus[],
  status: OwedStatus,
  problem: string | null,
): Promise<void> {
  if (!status.final || status.report.settled) return;
  status.report = { ...status.report, settled: true, problem };
  const last = ofRun.every(({ report }) => report.settled);
  // Hundreds of superseded runs may end at once: a report that would say nothing is not written.
  if (status.stored || problem !== null || !last) await store.saveReport(status.report);
  if (last) await store.settleRun(REPORTER, status.run.id);
}
