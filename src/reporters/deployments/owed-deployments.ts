/** Decides which deployments are left to create on GitHub, and which of their statuses are left to send. */

import { kindOf } from '../../runs/kinds/kinds.ts';
import { blankReport, type Report, type ReporterName } from '../../runs/report.ts';
import { isFinal, type Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { type GitHubTarget, type LaneOf, repositoryKey, type TargetOf } from '../github-target.ts';
import type { Owed } from '../outbox/outbox.ts';
import type { SetAside } from '../outbox/set-aside.ts';
import { isLongOver, readUnreported, settleRuns } from '../outbox/unreported-runs.ts';
import {
  type DeploymentWords,
  deploymentWords,
  deploys,
  describe,
  knownDeployment,
  underWay,
} from './deployment-state.ts';

const REPORTER: ReporterName = 'github-deployment';

/** A state before the outcome that failed this often is left out. The outcome will follow. */
export const TRIES_BEFORE_END = 5;
const OUTCOMES: ReadonlySet<DeploymentWords['state']> = new Set(['success', 'failure', 'error']);

/** The next write about the deployment of one run at one commit. */
export interface OwedDeployment extends Owed {
  to: GitHubTarget;
  environment: string;
  /** The run has ended. */
  isFinal: boolean;
  next:
    | { step: 'create'; mayExist: boolean; creates: boolean }
    | { step: 'status'; id: number; words: DeploymentWords; isLast: boolean };
}

export interface OwedDeploymentOptions {
  store: Pick<RunStore, 'unreported' | 'reports' | 'settleRun'>;
  targetOf: TargetOf;
  laneOf: LaneOf;
}

type Place = Pick<OwedDeployment, 'to' | 'environment'>;

/**
 * Reads what is left to send, the most urgent first: what is about ended runs, in the order of their ends, and then the
 * others by the age of their run. Settles every run that has nothing left to send.
 */
export async function readOwedDeployments(
  options: OwedDeploymentOptions,
  aside: SetAside,
): Promise<OwedDeployment[]> {
  const { laneOf } = options;
  const runs = await readUnreported({
    store: options.store,
    reporter: REPORTER,
    laneOf(run) {
      const place = placeOf(options, run);
      return place && laneOf(place.to);
    },
  });
  const owed: OwedDeployment[] = [];
  const done: Run[] = [];
  for (const run of runs) {
    await aside.guard(run, async () => {
      const place = placeOf(options, run);
      const found = place ? await lookAt(options, run, place) : NOTHING;
      if (found.isOver) done.push(run);
      owed.push(...found.owed);
    });
  }
  await settleRuns(options, REPORTER, done, aside);
  return inOrder(owed.filter(({ run }) => !aside.has(run)));
}

interface Found {
  owed: OwedDeployment[];
  /** True if nothing more will be sent about the run. */
  isOver: boolean;
}

const NOTHING: Found = { owed: [], isOver: true };

/** Returns null if the run can be no deployment on GitHub. */
function placeOf({ targetOf }: OwedDeploymentOptions, run: Run): Place | null {
  const environment = kindOf(run).services?.environment(run.input) ?? null;
  const to = environment === null ? null : targetOf(run);
  return environment !== null && to !== null ? { to, environment } : null;
}

async function lookAt({ store, laneOf }: OwedDeploymentOptions, run: Run, place: Place): Promise<Found> {
  const isOn = place.to.deployments;
  // A run that has not started has chosen nothing.
  const reports = run.startedAt === null ? [] : await store.reports(REPORTER, run.id);
  // A deployment that was created gets its outcome, although the repository does not ask for deployments any more.
  if (!isOn && reports.every(({ settled }) => settled)) return NOTHING;
  const mayCreate = isOn && !isLongOver(run, laneOf(place.to).now());
  // A run may have gone on at another commit after it was cut off.
  const commits = new Set(reports.map(({ target }) => target));
  if (mayCreate && run.revision !== null && deploys(run, run.revision)) commits.add(run.revision);
  const ended = isFinal(run.state);
  const owed = [...commits].flatMap((sha) => {
    const report = reports.find(({ target }) => target === sha) ?? blankReport(REPORTER, run.id, sha);
    const next = report.settled ? null : nextStep(run, report, mayCreate);
    return next ? [{ ...place, run, report, isFinal: ended, promised: ended, next }] : [];
  });
  return { owed, isOver: owed.length === 0 && ended };
}

function nextStep(run: Run, report: Report, mayCreate: boolean): OwedDeployment['next'] | null {
  const { id, mayExist, words: sent } = knownDeployment(report);
  if (id === null) {
    const creates = mayCreate && deploys(run, report.target);
    return creates || mayExist ? { step: 'create', mayExist, creates } : null;
  }
  const words = deploymentWords(run, report.target);
  if (words === null || describe(words) === sent) return null;
  const isOutcome = OUTCOMES.has(words.state);
  // GitHub shows each deployment as under way before its outcome.
  if (isOutcome && (sent === '' || sent.startsWith('queued: ')) && report.failures < TRIES_BEFORE_END)
    return { step: 'status', id, words: underWay(run), isLast: false };
  return { step: 'status', id, words, isLast: isFinal(run.state) };
}

/** GitHub shows the newest deployment of an environment as its present one, so they are created in the order of the runs. */
function inOrder(owed: readonly OwedDeployment[]): OwedDeployment[] {
  const creating = new Set<string>();
  const possible = owed.filter(({ to, environment, next }) => {
    if (next.step !== 'create') return true;
    const key = `${repositoryKey(to)} ${environment}`;
    const isFirst = !creating.has(key);
    creating.add(key);
    return isFirst;
  });
  return possible.toSorted((a, b) => endOf(a) - endOf(b) || 0);
}

/** A number that is larger than every time, for runs that have not ended. */
function endOf({ run }: OwedDeployment): number {
  return run.finishedAt ?? Number.MAX_SAFE_INTEGER;
}
