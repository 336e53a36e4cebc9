/** Keeps comments of pull requests up to date: the newest outcome of what shares a comment, told once. */

import { createHash } from 'node:crypto';
import { isFinal, type Run } from '../runs/run.ts';
import { blankReport, type Report, type ReporterName, type RunStore } from '../runs/run-store.ts';
import type { SendOutcome } from './github-answer.ts';
import type { CommentRequest, GitHubComments } from './github-comments.ts';
import { isWorn, type ReporterLog } from './status-teller.ts';
import type { WriteLane } from './write-lane.ts';

/** One kind of comment. Runs with one key share a comment. */
export interface StickyComment<Told extends Run> {
  reporter: ReporterName;
  concerns(run: Run): run is Told;
  keyOf(run: Told): string;
  /** Whether this state is worth a comment; after the others an older one, or none, is as good. */
  isTelling(run: Told): boolean;
  /** What is to stand there and who writes it, or why nobody can. */
  compose(run: Told): Promise<Composed>;
}

export type Composed =
  | { client: GitHubComments; request: CommentRequest; problem?: never }
  | { problem: string };

export interface CommentTellerOptions {
  store: Pick<RunStore, 'unreported' | 'reports' | 'saveReport' | 'settleRun'>;
  log: ReporterLog;
  lane: WriteLane;
}

const READ_LIMIT = 1_000;
const NEXT_ROUND_MS = 100;

/**
 * Makes the function of one round: it writes at most one comment and returns the ms until the next round, or null
 * when nothing is left to tell. It throws what the store throws.
 */
export function createCommentTeller<Told extends Run>(
  options: CommentTellerOptions,
  comment: StickyComment<Told>,
): () => Promise<number | null> {
  const { store, lane } = options;
  return async function tellNext() {
    let waitMs: number | null = null;
    for (const run of await owedRuns(store, comment)) {
      const report =
        (await store.reports(comment.reporter, run.id))[0] ??
        blankReport(comment.reporter, run.id, targetOf(run));
      if (report.settled && isFinal(run.state)) {
        await store.settleRun(comment.reporter, run.id);
        continue;
      }
      // A run that waits for somebody stays as it was told.
      if (!isFinal(run.state) && (report.settled || report.told?.startsWith(`${run.state} `))) continue;
      const ms = lane.earliest({ promised: false, notBefore: report.notBefore }) - lane.now();
      if (ms <= 0) {
        await tell(options, comment, run, report);
        return NEXT_ROUND_MS;
      }
      waitMs = Math.min(waitMs ?? ms, ms);
    }
    return waitMs;
  };
}

/** The newest outcome for each comment, unless a newer one is on its way. Older ones are settled unsaid. */
async function owedRuns<Told extends Run>(
  store: CommentTellerOptions['store'],
  { reporter, concerns, keyOf, isTelling }: StickyComment<Told>,
): Promise<Told[]> {
  const runs = (await store.unreported(reporter, READ_LIMIT)).filter(concerns);
  const owed: Told[] = [];
  for (const ofOne of Map.groupBy(runs, keyOf).values()) {
    const speaker = ofOne.findLast(isTelling);
    for (const run of ofOne) {
      if (isFinal(run.state) && run !== speaker) await store.settleRun(reporter, run.id);
    }
    const others = ofOne.filter((run) => run !== speaker);
    if (speaker && others.every(({ state }) => isFinal(state))) owed.push(speaker);
  }
  return owed;
}

async function tell<Told extends Run>(
  options: CommentTellerOptions,
  comment: StickyComment<Told>,
  run: Told,
  report: Report,
): Promise<void> {
  const { store, log, lane } = options;
  const composed = await comment.compose(run);
  if (composed.problem !== undefined) {
    return keepFailure(options, run, report, { kind: 'refused', problem: composed.problem });
  }
  const { client, request } = composed;
  const outcome = await client.put(request);
  lane.record(outcome);
  if (outcome.kind !== 'ok') return keepFailure(options, run, report, outcome);
  log.info({ runId: run.id, target: report.target }, 'pull request comment sent');
  const told = `${run.state} ${createHash('sha256').update(request.body).digest('hex')}`;
  const settled = isFinal(run.state);
  await store.saveReport({ ...report, told, settled, failures: 0, notBefore: 0, problem: null });
  if (settled) await store.settleRun(comment.reporter, run.id);
}

async function keepFailure(
  { store, lane, log }: CommentTellerOptions,
  run: Run,
  report: Report,
  outcome: Exclude<SendOutcome, { kind: 'ok' }>,
): Promise<void> {
  const { problem } = outcome;
  const failures = report.problem === problem ? report.failures + 1 : 1;
  const fields = { runId: run.id, target: report.target, problem, failures };
  if (outcome.kind === 'refused' || isWorn(outcome, failures)) {
    log.warn(fields, 'pull request comment is undeliverable; it is not sent again');
    await store.saveReport({ ...report, failures, problem, notBefore: 0, settled: true });
    if (isFinal(run.state)) await store.settleRun(report.reporter, run.id);
    return;
  }
  const notBefore = lane.retryAt(outcome, failures);
  log.warn({ ...fields, nextTry: new Date(notBefore).toISOString() }, 'pull request comment not sent yet');
  await store.saveReport({ ...report, failures, problem, notBefore });
}

function targetOf(run: Run): string {
  return `#${'pullRequest' in run.input ? run.input.pullRequest : run.id}`;
}
