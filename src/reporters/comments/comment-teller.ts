/** Keeps comments of pull requests up to date: the newest outcome of what shares a comment, told once. */

import { createHash } from 'node:crypto';
import type { SendOutcome } from '../../github/github-answer.ts';
import type { CommentRequest, GitHubComments } from '../../github/github-comments.ts';
import { isFinal, type Run, type RunKind } from '../../runs/run.ts';
import { blankReport, type Report, type ReporterName, type RunStore } from '../../runs/run-store.ts';
import type { SetAside } from '../outbox/set-aside.ts';
import type { WriteLane } from '../outbox/write-lane.ts';
import { isWorn, type ReporterLog } from '../statuses/status-teller.ts';

/** One kind of comment. Runs with one key share a comment. */
export interface StickyComment<K extends RunKind> {
  reporter: ReporterName;
  kind: K;
  /** Which runs of the kind; left out: all. */
  concerns?(run: Run<K>): boolean;
  keyOf(run: Run<K>): string;
  /** Whether this state is worth a comment; after the others an older one, or none, is as good. */
  isTelling(run: Run<K>): boolean;
  /** What is to stand there and who writes it, or why nobody can. */
  compose(run: Run<K>): Promise<Composed>;
}

type Composed = { client: GitHubComments; request: CommentRequest; problem?: never } | { problem: string };

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
export function createCommentTeller<K extends RunKind>(
  options: CommentTellerOptions,
  comment: StickyComment<K>,
): (aside: SetAside) => Promise<number | null> {
  return async function tellNext(aside) {
    let waitMs: number | null = null;
    for (const run of await owedRuns(options.store, comment, aside)) {
      if (aside.has(run)) continue;
      const told = await aside.guard(run, () => tellIfDue(options, comment, run));
      if (told === 'told') {
        aside.cameThrough();
        return NEXT_ROUND_MS;
      }
      if (typeof told === 'number') waitMs = Math.min(waitMs ?? told, told);
    }
    return waitMs;
  };
}

/** Resolves to the ms to wait, when it is not due yet. */
async function tellIfDue<K extends RunKind>(
  options: CommentTellerOptions,
  comment: StickyComment<K>,
  run: Run<K>,
): Promise<'told' | 'nothing' | number> {
  const { store, lane } = options;
  const { reporter } = comment;
  const report = (await store.reports(reporter, run.id))[0] ?? blankReport(reporter, run.id, targetOf(run));
  if (report.settled && isFinal(run.state)) {
    await store.settleRun(reporter, run.id);
    return 'nothing';
  }
  // A run that waits for somebody stays as it was told.
  if (!isFinal(run.state) && (report.settled || report.told?.startsWith(`${run.state} `))) return 'nothing';
  const ms = lane.earliest({ promised: false, notBefore: report.notBefore }) - lane.now();
  if (ms > 0) return ms;
  await tell(options, comment, run, report);
  return 'told';
}

/** The newest outcome for each comment, unless a newer one is on its way. Older ones are settled unsaid. */
async function owedRuns<K extends RunKind>(
  store: CommentTellerOptions['store'],
  { reporter, kind, concerns = () => true, keyOf, isTelling }: StickyComment<K>,
  aside: SetAside,
): Promise<Run<K>[]> {
  const byKey = new Map<string, Run<K>[]>();
  const unreported = await store.unreported(reporter, READ_LIMIT);
  for (const run of unreported.filter((one): one is Run<K> => one.kind === kind)) {
    await aside.guard(run, async () => {
      if (!concerns(run)) return;
      const key = keyOf(run);
      byKey.set(key, [...(byKey.get(key) ?? []), run]);
    });
  }
  const owed: Run<K>[] = [];
  for (const ofOne of byKey.values()) {
    const speaker = ofOne.findLast(isTelling);
    for (const run of ofOne) {
      if (isFinal(run.state) && run !== speaker) await store.settleRun(reporter, run.id);
    }
    const others = ofOne.filter((run) => run !== speaker);
    if (speaker && others.every(({ state }) => isFinal(state))) owed.push(speaker);
  }
  return owed;
}

async function tell<K extends RunKind>(
  options: CommentTellerOptions,
  comment: StickyComment<K>,
  run: Run<K>,
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
