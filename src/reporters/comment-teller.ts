/** Tells what merging a pull request would sync, as one comment of it that is kept up to date. */

import { createHash } from 'node:crypto';
import { isFinal, type PreviewRun } from '../runs/run.ts';
import type { Report, RunStore } from '../runs/run-store.ts';
import type { SendOutcome } from './github-answer.ts';
import type { GitHubComments } from './github-comments.ts';
import { PREVIEW_MARK, previewComment } from './preview-comment.ts';
import { isWorn, type ReporterLog } from './status-teller.ts';
import type { WriteLane } from './write-lane.ts';

export interface CommentTellerOptions {
  store: Pick<RunStore, 'unreported' | 'reports' | 'saveReport' | 'settleRun' | 'latestEvent'>;
  client: GitHubComments;
  repository: { owner: string; repo: string };
  runUrl(runId: string): string;
  log: ReporterLog;
  lane: WriteLane;
}

const REPORTER = 'pull-request-comment';
const READ_LIMIT = 1_000;
const NEXT_ROUND_MS = 100;

/** States whose outcome is worth a comment; after the others an older one, or none, is as good. */
const TELLING: ReadonlySet<PreviewRun['state']> = new Set(['succeeded', 'failed', 'errored']);

/**
 * Makes the function of one round: it writes at most one comment and returns the ms until the next round, or null
 * when nothing is left to tell. It throws what the store throws.
 */
export function createCommentTeller(options: CommentTellerOptions): () => Promise<number | null> {
  const { store, lane } = options;
  return async function tellNext() {
    let waitMs: number | null = null;
    for (const run of await owedRuns(store)) {
      const report = (await store.reports(REPORTER, run.id))[0] ?? blankReport(run);
      if (report.settled) {
        await store.settleRun(REPORTER, run.id);
        continue;
      }
      const ms = lane.earliest({ promised: false, notBefore: report.notBefore }) - lane.now();
      if (ms <= 0) {
        await tell(options, run, report);
        return NEXT_ROUND_MS;
      }
      waitMs = Math.min(waitMs ?? ms, ms);
    }
    return waitMs;
  };
}

/** The newest outcome of each pull request, unless a newer one is on its way. Older ones are settled unsaid. */
async function owedRuns(store: CommentTellerOptions['store']): Promise<PreviewRun[]> {
  const runs = (await store.unreported(REPORTER, READ_LIMIT)).filter((run) => run.kind === 'preview');
  const owed: PreviewRun[] = [];
  for (const ofOne of Map.groupBy(runs, ({ input }) => input.pullRequest).values()) {
    const speaker = ofOne.findLast(({ state }) => TELLING.has(state));
    for (const run of ofOne) {
      if (isFinal(run.state) && run !== speaker) await store.settleRun(REPORTER, run.id);
    }
    if (speaker && ofOne.every(({ state }) => isFinal(state))) owed.push(speaker);
  }
  return owed;
}

async function tell(options: CommentTellerOptions, run: PreviewRun, report: Report): Promise<void> {
  const { store, client, repository, runUrl, log, lane } = options;
  const explanation = (await store.latestEvent(run.id, 'run.explained'))?.explanation ?? null;
  const body = previewComment({ run, explanation, url: runUrl(run.id) });
  const { pullRequest } = run.input;
  const outcome = await client.put({ ...repository, pullRequest, body, mark: PREVIEW_MARK });
  lane.record(outcome);
  if (outcome.kind === 'ok') {
    log.info({ runId: run.id, pullRequest }, 'pull request comment told');
    const told = createHash('sha256').update(body).digest('hex');
    await store.saveReport({ ...report, told, settled: true, failures: 0, problem: null });
    return store.settleRun(REPORTER, run.id);
  }
  await keepFailure(options, run, report, outcome);
}

async function keepFailure(
  { store, lane, log }: CommentTellerOptions,
  run: PreviewRun,
  report: Report,
  outcome: Exclude<SendOutcome, { kind: 'ok' }>,
): Promise<void> {
  const { problem } = outcome;
  const failures = report.problem === problem ? report.failures + 1 : 1;
  const fields = { runId: run.id, target: report.target, problem, failures };
  if (outcome.kind === 'refused' || isWorn(outcome, failures)) {
    log.warn(fields, 'pull request comment is undeliverable');
    await store.saveReport({ ...report, failures, problem, notBefore: 0, settled: true });
    return store.settleRun(REPORTER, run.id);
  }
  log.warn(fields, 'pull request comment not told yet');
  await store.saveReport({ ...report, failures, problem, notBefore: lane.retryAt(outcome, failures) });
}

function blankReport(run: PreviewRun): Report {
  return {
    reporter: REPORTER,
    runId: run.id,
    target: `#${run.input.pullRequest}`,
    told: null,
    settled: false,
    failures: 0,
    notBefore: 0,
    problem: null,
  };
}
