/** Tells one status at a time, and decides about retries and giving up. */

import type { SendOutcome } from '../../github/github-answer.ts';
import type { GitHubClient } from '../../github/github-client.ts';
import type { Run } from '../../runs/run.ts';
import type { Report } from '../../runs/run-store.ts';
import type { SetAside } from '../outbox/set-aside.ts';
import type { WriteLane } from '../outbox/write-lane.ts';
import { isPromise } from './commit-status.ts';
import { type OwedStatus, type ReportingStore, readOwedStatuses, toldWords } from './owed-statuses.ts';

export interface ReporterLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface StatusTellerOptions {
  store: ReportingStore;
  client: GitHubClient;
  repository: { owner: string; repo: string };
  /** The page that a status links to: absolute, http or https. */
  runUrl(runId: string): string;
  log: ReporterLog;
  lane: WriteLane;
}

/** A pending state that failed this often is left out: the final one will follow. */
const PENDING_TRIES = 5;
/** After a try the store is read again before the next one; this keeps a surprise there from becoming a spin. */
const NEXT_ROUND_MS = 100;

/**
 * Makes the function of one round: it tells at most one status and returns the ms until the next round, or null
 * when nothing is left to tell. It throws what the store throws.
 */
export function createStatusTeller(
  options: StatusTellerOptions,
): (aside: SetAside) => Promise<number | null> {
  const { store, client, repository, runUrl, log, lane } = options;
  const toWhom = { repository: `${repository.owner}/${repository.repo}` };

  /** What came of the last try, as long as the store cannot keep it: GitHub takes only 1,000 statuses a commit. */
  let unkept: { run: Run; report: Report } | null = null;

  async function keep(run: Run, report: Report): Promise<void> {
    unkept = { run, report };
    await store.saveReport(report);
    unkept = null;
  }

  async function keepFailure(owed: OwedStatus, outcome: Exclude<SendOutcome, { kind: 'ok' }>): Promise<void> {
    const { report, run } = owed;
    const problem = outcome.problem;
    const failures = report.problem === problem ? report.failures + 1 : 1;
    const fields = { runId: run.id, ...toWhom, commit: report.target, problem, failures };
    if (outcome.kind === 'refused' || isWorn(outcome, failures)) {
      // A pending state is not tried again, but the final one is, once.
      const next = owed.final
        ? 'nothing more is sent for this run and commit'
        : 'it is left out; the outcome will be sent';
      log.warn(fields, `commit status is undeliverable; ${next}`);
      const tries = Math.max(failures, PENDING_TRIES);
      return keep(run, { ...report, failures: tries, problem, notBefore: 0, settled: owed.final });
    }
    const notBefore = lane.retryAt(outcome, failures);
    log.warn({ ...fields, nextTry: new Date(notBefore).toISOString() }, 'commit status not sent yet');
    await keep(run, { ...report, failures, problem, notBefore });
  }

  async function tell(owed: OwedStatus): Promise<void> {
    const { report, run, status } = owed;
    // A pending state that was overtaken while we settled others is never sent.
    if (!owed.final && (await store.run(owed.source.id))?.state !== owed.source.state) return;
    // Kept before it is told, so that a pending state is not forgotten when we are cut off in between.
    if (!owed.stored && !owed.final) await store.saveReport(report);
    const targetUrl = runUrl(owed.source.id);
    const outcome = await client.setStatus({
      ...repository,
      sha: report.target,
      ...status,
      targetUrl,
      // A commit that was just pushed has few; one that is looked at again and again may have too many.
      keepsRoom: !owed.final && run.trigger.source !== 'webhook',
    });
    lane.record(outcome);
    if (outcome.kind !== 'ok') return keepFailure(owed, outcome);
    log.info({ runId: run.id, ...toWhom, commit: report.target, status: status.state }, 'commit status sent');
    await keep(run, { ...report, told: toldWords(status), failures: 0, problem: null, notBefore: 0 });
  }

  return async function tellNext(aside) {
    if (unkept) {
      const { run, report } = unkept;
      await aside.guard(run, () => keep(run, report));
      unkept = null;
    }
    const owed = (await readOwedStatuses(store, aside)).filter(({ run }) => !aside.has(run));
    const worthIt = owed.filter(({ final, report }) => final || report.failures < PENDING_TRIES);
    const now = lane.now();
    let waitMs: number | null = null;
    for (const status of worthIt) {
      const promised = status.final && isPromise(status.run);
      const at = lane.earliest({ promised, notBefore: status.report.notBefore });
      if (at <= now) {
        if ((await aside.guard(status.run, () => tell(status))) === null) continue;
        aside.cameThrough();
        return NEXT_ROUND_MS;
      }
      waitMs = Math.min(waitMs ?? at - now, at - now);
    }
    return waitMs;
  };
}

/** Whether an outcome of this kind has come up often enough. */
export function isWorn({ maxTries }: Extract<SendOutcome, { kind: 'retry' }>, failures: number): boolean {
  return maxTries !== null && failures >= maxTries;
}
