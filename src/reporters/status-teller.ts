/** Tells one status at a time, and decides when the next one may go: pace, pauses, retries and giving up. */

import type { Report } from '../runs/run-store.ts';
import { backoffMs, SECOND } from './backoff.ts';
import type { SendOutcome } from './github-answer.ts';
import type { GitHubClient } from './github-client.ts';
import { type OwedStatus, type ReportingStore, readOwedStatuses, toldWords } from './owed-statuses.ts';
import { createPace } from './pace.ts';

export interface ReporterLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface StatusTellerOptions {
  store: ReportingStore;
  client: GitHubClient;
  repository: { owner: string; repo: string };
  /** The page that a status links to: absolute, http or https. */
  runUrl(runId: string): string;
  /** Under this name GitHub shows the newest status of a commit; its case does not matter to GitHub. */
  context?: string;
  log: ReporterLog;
  /** Now, in ms since the epoch. */
  clock?(): number;
  /** From 0 to 1, for jitter. */
  random?(): number;
  minIntervalMs?: number;
}

const MAX_BACKOFF_MS = 900_000;
/** A pending state that failed this often is left out: the final one will follow. */
const PENDING_TRIES = 5;
/** After a try the store is read again before the next one; this keeps a surprise there from becoming a spin. */
const NEXT_ROUND_MS = 100;

/**
 * Makes the function of one round: it tells at most one status and returns the ms until the next round, or null
 * when nothing is left to tell. It throws what the store throws.
 */
export function createStatusTeller(options: StatusTellerOptions): () => Promise<number | null> {
  const { store, client, repository, runUrl, context = 'IaC Runner / Sync', log } = options;
  const { clock = Date.now, random = Math.random, minIntervalMs = SECOND } = options;
  const pace = createPace({ minIntervalMs });
  /** GitHub as a whole is left alone until then, after so many failures in a row that were not about one commit. */
  const pause = { until: 0, failures: 0 };

  /** What came of the last try, as long as the store cannot keep it: GitHub takes only 1,000 statuses a commit. */
  let unkept: Report | null = null;

  async function keep(report: Report): Promise<void> {
    unkept = report;
    await store.saveReport(report);
    unkept = null;
  }

  function withJitter(ms: number): number {
    return Math.ceil(ms * (1 + random() / 10));
  }

  async function keepFailure(owed: OwedStatus, outcome: Exclude<SendOutcome, { kind: 'ok' }>): Promise<void> {
    const { report, run } = owed;
    const problem = outcome.problem;
    const failures = report.problem === problem ? report.failures + 1 : 1;
    const fields = { runId: run.id, target: report.target, problem, failures };
    const worn = outcome.kind === 'retry' && outcome.maxTries !== null && failures >= outcome.maxTries;
    if (outcome.kind === 'refused' || worn) {
      // A pending state is not tried again, but the final one is, once.
      log.warn(fields, 'commit status is undeliverable');
      const tries = Math.max(failures, PENDING_TRIES);
      return keep({ ...report, failures: tries, problem, notBefore: 0, settled: owed.final });
    }
    let waitMs = withJitter(backoffMs(outcome.afterMs, failures, MAX_BACKOFF_MS));
    if (outcome.scope === 'everything') {
      pause.failures += 1;
      pause.until = clock() + withJitter(backoffMs(outcome.afterMs, pause.failures, MAX_BACKOFF_MS));
      // The growing wait ends with this process, in case a restart is the cure. What GitHub asks for does not.
      waitMs = outcome.afterMs;
    }
    log.warn(fields, 'commit status not told yet');
    await keep({ ...report, failures, problem, notBefore: clock() + waitMs });
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
      context,
    });
    pace.record(clock());
    if (outcome.kind !== 'retry' || outcome.scope === 'target') pause.failures = 0;
    if (outcome.kind !== 'ok') return keepFailure(owed, outcome);
    log.info({ runId: run.id, target: report.target, status: status.state }, 'commit status told');
    await keep({ ...report, told: toldWords(status), failures: 0, problem: null, notBefore: 0 });
  }

  return async function tellNext() {
    if (unkept) await keep(unkept);
    const owed = await readOwedStatuses(store);
    const worthIt = owed.filter(({ final, report }) => final || report.failures < PENDING_TRIES);
    const now = clock();
    let waitMs: number | null = null;
    for (const status of worthIt) {
      const at = Math.max(pause.until, status.report.notBefore, pace.earliest(now, status));
      if (at <= now) {
        await tell(status);
        return NEXT_ROUND_MS;
      }
      waitMs = Math.min(waitMs ?? at - now, at - now);
    }
    return waitMs;
  };
}
