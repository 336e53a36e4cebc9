/** Sends one commit status at a time, and decides when to give up. */

import type { SendOutcome } from '../../github/github-answer.ts';
import type { SetStatus } from '../../github/github-statuses.ts';
import type { Report } from '../../runs/report.ts';
import { afterFailure, afterSuccess, createOutbox, failuresInARow } from '../outbox/outbox.ts';
import type { ReporterLog, Sender } from '../outbox/sending-loop.ts';
import type { WriteLane } from '../outbox/write-lane.ts';
import { type OwedStatus, type ReportingStore, readOwedStatuses, sentWords } from './owed-statuses.ts';

export interface StatusSenderOptions {
  store: ReportingStore;
  setStatus: SetStatus;
  repository: { owner: string; repo: string };
  /** The page that a status links to: absolute, http or https. */
  runUrl(runId: string): string;
  log: ReporterLog;
  lane: WriteLane;
}

/** A pending state that failed this often is left out. The final state will follow. */
const PENDING_TRIES = 5;

export function createStatusSender(options: StatusSenderOptions): Sender['sendNext'] {
  const { store, lane } = options;
  return createOutbox({
    store,
    lane,
    async readOwed(aside) {
      const owed = await readOwedStatuses(store, aside);
      return owed.filter(({ final, report }) => final || report.failures < PENDING_TRIES);
    },
    send: (owed) => send(options, owed),
  });
}

async function send(options: StatusSenderOptions, owed: OwedStatus): Promise<Report | null> {
  const { store, setStatus, repository, runUrl, log, lane } = options;
  const { report, run, status } = owed;
  // A pending state that changed while others were settled is never sent.
  if (!owed.final && (await store.run(owed.source.id))?.state !== owed.source.state) return null;
  // The status is stored before it is sent, so that a crash in between does not leave the commit pending for ever.
  if (!owed.stored && !owed.final) await store.saveReport(report);
  const outcome = await setStatus({
    ...repository,
    sha: report.target,
    ...status,
    targetUrl: runUrl(owed.source.id),
    // A commit that was just pushed has few statuses. A commit that is looked at again and again may have too many.
    keepsSpace: !owed.final && run.trigger.source !== 'webhook',
  });
  lane.record(outcome);
  if (outcome.kind !== 'ok') return reportFailure(options, owed, outcome);
  log.info({ ...fieldsOf(options, owed), status: status.state }, 'commit status sent');
  return afterSuccess(report, sentWords(status));
}

function reportFailure(
  options: StatusSenderOptions,
  owed: OwedStatus,
  outcome: Exclude<SendOutcome, { kind: 'ok' }>,
): Report {
  const { log, lane } = options;
  const failures = failuresInARow(owed.report, outcome);
  const { isGivenUp, report } = afterFailure(lane, owed.report, outcome, failures);
  const fields = { ...fieldsOf(options, owed), problem: outcome.problem, failures };
  if (!isGivenUp) {
    log.warn({ ...fields, nextTry: new Date(report.notBefore).toISOString() }, 'commit status not sent yet');
    return report;
  }
  // A pending state is not tried again. The final state is tried, once.
  const next = owed.final
    ? 'nothing more is sent for this run and commit'
    : 'it is left out; the outcome will be sent';
  log.warn(fields, `commit status is undeliverable; ${next}`);
  return { ...report, failures: Math.max(failures, PENDING_TRIES), settled: owed.final };
}

function fieldsOf({ repository: { owner, repo } }: StatusSenderOptions, { run, report }: OwedStatus) {
  return { runId: run.id, repository: `${owner}/${repo}`, commit: report.target };
}
