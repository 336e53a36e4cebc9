/** Reports runs to GitHub's Deployments API, one write at a time, and decides when to give up. */

import type { SendOutcome } from '../../github/github-answer.ts';
import { createGitHubDeployments } from '../../github/github-deployments.ts';
import type { Report } from '../../runs/report.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { chosenServices } from '../../runs/sync/chosen-services.ts';
import { type ClientOptions, withAccess } from '../github-target.ts';
import { afterFailure, afterSuccess, createOutbox, failuresInARow } from '../outbox/outbox.ts';
import type { ReporterLog, Sender } from '../outbox/sending-loop.ts';
import { ASKED, sentDeployment } from './deployment-state.ts';
import {
  type OwedDeployment,
  type OwedDeploymentOptions,
  readOwedDeployments,
  TRIES_BEFORE_END,
} from './owed-deployments.ts';

export interface DeploymentSenderOptions extends OwedDeploymentOptions {
  store: OwedDeploymentOptions['store'] & Pick<RunStore, 'run' | 'saveReport' | 'latestEvent'>;
  client: ClientOptions;
  /** The page of a run: absolute, http or https. */
  runUrl(runId: string): string;
  log: ReporterLog;
}

type Step<S extends OwedDeployment['next']['step']> = Extract<OwedDeployment['next'], { step: S }>;

export function createDeploymentSender(options: DeploymentSenderOptions): Sender['sendNext'] {
  return createOutbox<OwedDeployment>({
    store: options.store,
    laneOf: ({ to }) => options.laneOf(to),
    async readOwed(aside) {
      const owed = await readOwedDeployments(options, aside);
      return owed.filter(
        ({ isFinal, next, report }) =>
          isFinal || next.step === 'create' || report.failures < TRIES_BEFORE_END,
      );
    },
    async send(owed) {
      const { run, next, isFinal } = owed;
      // A state that has changed in the meantime is never sent.
      if (!isFinal && (await options.store.run(run.id))?.state !== run.state) return null;
      return next.step === 'create' ? create(options, owed, next) : sendStatus(options, owed, next);
    },
  });
}

async function create(
  options: DeploymentSenderOptions,
  owed: OwedDeployment,
  { mayExist, creates }: Step<'create'>,
): Promise<Report> {
  const { store, client, laneOf, log } = options;
  const { run, to, environment } = owed;
  const report = { ...owed.report, sent: ASKED };
  // This is stored before the deployment is created, so that a crash in between does not create it twice.
  if (!mayExist) await store.saveReport(report);
  const request = {
    owner: to.owner,
    repo: to.repo,
    sha: report.target,
    environment,
    runId: run.id,
    services: chosenServices((await store.latestEvent(run.id, 'run.explained'))?.explanation ?? null),
    mayExist,
    creates,
  };
  const outcome = await withAccess(to, client, (access) => createGitHubDeployments(access).put(request));
  laneOf(to).record(outcome);
  if (outcome.kind !== 'ok') return reportFailure(options, { ...owed, report }, outcome);
  if (outcome.id === null) return { ...report, settled: true };
  log.info({ ...fieldsOf(owed), deployment: outcome.id }, 'deployment created');
  return afterSuccess(report, sentDeployment(outcome.id, null));
}

async function sendStatus(
  options: DeploymentSenderOptions,
  owed: OwedDeployment,
  { id, words, isLast }: Step<'status'>,
): Promise<Report> {
  const { client, laneOf, runUrl, log } = options;
  const { report, run, to } = owed;
  const { owner, repo, environmentUrl } = to;
  const request = { owner, repo, id, ...words, logUrl: runUrl(run.id), environmentUrl };
  const outcome = await withAccess(to, client, (access) =>
    createGitHubDeployments(access).setStatus(request),
  );
  laneOf(to).record(outcome);
  if (outcome.kind !== 'ok') return reportFailure(options, owed, outcome);
  log.info({ ...fieldsOf(owed), deployment: id, status: words.state }, 'deployment status sent');
  return { ...afterSuccess(report, sentDeployment(id, words)), settled: isLast };
}

function reportFailure(
  { laneOf, log }: DeploymentSenderOptions,
  owed: OwedDeployment,
  outcome: Exclude<SendOutcome, { kind: 'ok' }>,
): Report {
  const failures = failuresInARow(owed.report, outcome);
  const { isGivenUp, report } = afterFailure(laneOf(owed.to), owed.report, outcome, failures);
  const fields = { ...fieldsOf(owed), problem: outcome.problem, failures };
  if (!isGivenUp) {
    log.warn({ ...fields, nextTry: new Date(report.notBefore).toISOString() }, 'deployment not reported yet');
    return report;
  }
  const isOver = owed.next.step === 'create' || owed.next.isLast;
  const next = isOver
    ? 'nothing more is sent for this run and commit'
    : 'this state is left out; the outcome will be sent';
  log.warn(fields, `deployment cannot be reported; ${next}`);
  return { ...report, failures: Math.max(failures, TRIES_BEFORE_END), settled: isOver };
}

function fieldsOf({ to: { owner, repo }, run, report, environment }: OwedDeployment) {
  return { runId: run.id, repository: `${owner}/${repo}`, commit: report.target, environment };
}
