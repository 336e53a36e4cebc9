/** Sends one commit status at a time, and decides when to give up. */

import type { SendOutcome } from '../../github/github-answer.ts';
import { createStatusWriter } from '../../github/github-statuses.ts';
import type { Report } from '../../runs/report.ts';
import { type ClientOptions, withAccess } from '../github-target.ts';
import { afterFailure, afterSuccess, createOutbox, failuresInARow } from '../outbox/outbox.ts';
import type { ReporterLog, Sender } from '../outbox/sending-loop.ts';
import { type OwedStatus, type OwedStatusOptions, readOwedStatuses, sentWords } from './owed-statuses.ts';

export interface StatusSenderOptions extends OwedStatusOptions {
  client: ClientOptions;
  /** The page that a status links to: absolute, http or https. */
  runUrl(runId: string): string;
  log: ReporterLog;
}

/** A pending state that failed this often is left out. The final state will follow. */
const PENDING_TRIES = 5;

export function createStatusSender(options: StatusSenderOptions): Sender['sendNext'] {
  const { store, laneOf } = options;
  return createOutbox<OwedStatus>({
    store,
    laneOf: ({ to }) => laneOf(to),
    async readOwed(aside) {
      const owed = await readOwedStatuses(options, aside);
      return owed.filter(({ isFinal, report }) => isFinal || report.failures < PENDING_TRIES);
    },
    send: (owed) => send(options, owed),
  });
}

async function send(options: StatusSenderOptions, owed: OwedStatus): Promise<Report | null> {
  const { store, client, laneOf, runUrl, log } = options;
  const { report, status, to, source, keepsSpace } = owed;
  // A pending state that changed while others were settled is never sent.
  if (!owed.isFinal && (await store.run(source.id))?.state !== source.state) return null;
  // The status is stored before it is sent, so that a crash in between does not leave the commit pending for ever.
  if (!owed.stored && !owed.isFinal) await store.saveReport(report);
  const request = {
    owner: to.owner,
    repo: to.repo,
    sha: owed.sha,
    ...status,
    targetUrl: runUrl(source.id) + owed.anchor,
    ...(status.state === 'pending' && keepsSpace !== null && { keepsSpace }),
  };
  const outcome = await withAccess(to, client, (access) => createStatusWriter(access)(request));
  laneOf(to).record(outcome);
  if (outcome.kind !== 'ok') return reportFailure(options, owed, outcome);
  log.info({ ...fieldsOf(owed), status: status.state }, 'commit status sent');
  return afterSuccess(report, sentWords(status));
}

function reportFailure(
  { laneOf, log }: StatusSenderOptions,
  owed: OwedStatus,
  outcome: Exclude<SendOutcome, { kind: 'ok' }>,
): Report {
  const failures = failuresInARow(owed.report, outcome);
  const { isGivenUp, report } = afterFailure(laneOf(owed.to), owed.report, outcome, failures);
  const fields = { ...fieldsOf(owed), problem: outcome.problem, failures };
  if (!isGivenUp) {
    log.warn({ ...fields, nextTry: new Date(report.notBefore).toISOString() }, 'commit status not sent yet');
    return report;
  }
  // A pending state is not tried again. The final state is tried, once.
  const next = owed.isFinal
    ? 'nothing more is sent for this run and commit'
    : 'it is left out; the outcome will be sent';
  log.warn(fields, `commit status is undeliverable; ${next}`);
  return { ...report, failures: Math.max(failures, PENDING_TRIES), settled: owed.isFinal };
}

function fieldsOf({ to: { owner, repo }, run, sha, status: { context } }: OwedStatus) {
  return { runId: run.id, repository: `${owner}/${repo}`, commit: sha, context };
}
