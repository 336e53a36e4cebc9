/** Keeps comments on pull requests up to date. Each comment shows the newest outcome of the runs that share it. */

import { createHash } from 'node:crypto';
import type { SendOutcome } from '../../github/github-answer.ts';
import type { CommentRequest, GitHubComments } from '../../github/github-comments.ts';
import { blankReport, type Report, type ReporterName } from '../../runs/report.ts';
import { isFinal, type Run, type RunKind } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { afterFailure, afterSuccess, createOutbox, failuresInARow, type Owed } from '../outbox/outbox.ts';
import type { ReporterLog, Sender } from '../outbox/sending-loop.ts';
import type { SetAside } from '../outbox/set-aside.ts';
import { readUnreported } from '../outbox/unreported-runs.ts';
import type { WriteLane } from '../outbox/write-lane.ts';

/** One kind of comment. */
export interface StickyComment<K extends RunKind> {
  reporter: ReporterName;
  kind: K;
  /** Returns true for the runs that have such a comment. Left out: all runs of the kind. */
  concerns?(run: Run<K>): boolean;
  /** Runs with the same key share a comment. */
  keyOf(run: Run<K>): string;
  /** Returns true if the comment shows the run in this state. In other states the comment stays as it is. */
  isShown(run: Run<K>): boolean;
  /** Returns the text of the comment and who writes it, or the reason why nobody can. */
  compose(run: Run<K>): Promise<Composed>;
}

type Composed = { client: GitHubComments; request: CommentRequest; problem?: never } | { problem: string };

export interface CommentSenderOptions {
  store: Pick<RunStore, 'unreported' | 'reports' | 'saveReport' | 'settleRun'>;
  log: ReporterLog;
  /** The lane in which the comment of a run is written. */
  laneOf(run: Run): WriteLane;
}

interface OwedComment<K extends RunKind> extends Owed {
  run: Run<K>;
}

export function createCommentSender<K extends RunKind>(
  options: CommentSenderOptions,
  comment: StickyComment<K>,
): Sender['sendNext'] {
  return createOutbox<OwedComment<K>>({
    store: options.store,
    laneOf: ({ run }) => options.laneOf(run),
    async readOwed(aside) {
      const owed: OwedComment<K>[] = [];
      for (const run of await newestRuns(options, comment, aside)) {
        const found = await aside.guard(run, () => owedComment(options.store, comment, run));
        if (found) owed.push(found);
      }
      return owed;
    },
    send: (owed) => send(options, comment, owed),
  });
}

/** Returns null if the comment shows the run already. */
async function owedComment<K extends RunKind>(
  store: CommentSenderOptions['store'],
  { reporter }: StickyComment<K>,
  run: Run<K>,
): Promise<OwedComment<K> | null> {
  const report = (await store.reports(reporter, run.id))[0] ?? blankReport(reporter, run.id, targetOf(run));
  if (report.settled && isFinal(run.state)) {
    await store.settleRun(reporter, run.id);
    return null;
  }
  // The comment of a run that waits for somebody is written once.
  if (!isFinal(run.state) && (report.settled || report.sent?.startsWith(`${run.state} `))) return null;
  return { run, report, promised: false };
}

/** Returns the newest run for each comment, unless another run of it has not ended. Settles the other ended runs. */
async function newestRuns<K extends RunKind>(
  { store, laneOf }: CommentSenderOptions,
  { reporter, kind, concerns = () => true, keyOf, isShown }: StickyComment<K>,
  aside: SetAside,
): Promise<Run<K>[]> {
  const byKey = new Map<string, Run<K>[]>();
  const unreported = await readUnreported({ store, reporter, laneOf });
  for (const run of unreported.filter((one): one is Run<K> => one.kind === kind)) {
    await aside.guard(run, async () => {
      if (!concerns(run)) return;
      const key = keyOf(run);
      byKey.set(key, [...(byKey.get(key) ?? []), run]);
    });
  }
  const newest: Run<K>[] = [];
  for (const sharing of byKey.values()) {
    const shown = sharing.findLast(isShown);
    const others = sharing.filter((run) => run !== shown);
    for (const run of others) if (isFinal(run.state)) await store.settleRun(reporter, run.id);
    if (shown && others.every(({ state }) => isFinal(state))) newest.push(shown);
  }
  return newest;
}

async function send<K extends RunKind>(
  options: CommentSenderOptions,
  comment: StickyComment<K>,
  { run, report }: OwedComment<K>,
): Promise<Report> {
  const { log, laneOf } = options;
  const composed = await comment.compose(run);
  if (composed.problem !== undefined)
    return reportFailure(options, run, report, { kind: 'refused', problem: composed.problem });
  const { client, request } = composed;
  const outcome = await client.put(request);
  laneOf(run).record(outcome);
  if (outcome.kind !== 'ok') return reportFailure(options, run, report, outcome);
  log.info({ runId: run.id, target: report.target }, 'pull request comment sent');
  const sent = `${run.state} ${createHash('sha256').update(request.body).digest('hex')}`;
  return { ...afterSuccess(report, sent), settled: isFinal(run.state) };
}

function reportFailure(
  { laneOf, log }: CommentSenderOptions,
  run: Run,
  before: Report,
  outcome: Exclude<SendOutcome, { kind: 'ok' }>,
): Report {
  const failures = failuresInARow(before, outcome);
  const { isGivenUp, report } = afterFailure(laneOf(run), before, outcome, failures);
  const fields = { runId: report.runId, target: report.target, problem: outcome.problem, failures };
  if (isGivenUp) {
    log.warn(fields, 'pull request comment is undeliverable; it is not sent again');
    return { ...report, settled: true };
  }
  const nextTry = new Date(report.notBefore).toISOString();
  log.warn({ ...fields, nextTry }, 'pull request comment not sent yet');
  return report;
}

function targetOf(run: Run): string {
  return `#${'pullRequest' in run.input ? run.input.pullRequest : run.id}`;
}
