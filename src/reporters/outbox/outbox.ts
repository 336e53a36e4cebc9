/** Sends one report at a time, and keeps the result of each try. Statuses and comments are sent this way. */

import type { RetryOutcome, SendOutcome } from '../../github/github-answer.ts';
import type { Report } from '../../runs/report.ts';
import type { Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { Sender } from './sending-loop.ts';
import type { SetAside } from './set-aside.ts';
import type { WriteLane } from './write-lane.ts';

/** Something to send about a run. */
export interface Owed {
  run: Run;
  report: Report;
  /** True if it may use the reserved part of the limits. */
  promised: boolean;
}

export interface OutboxOptions<T extends Owed> {
  store: Pick<RunStore, 'saveReport'>;
  laneOf(owed: T): WriteLane;
  /** Reads what is left to send, the most urgent first. */
  readOwed(aside: SetAside): Promise<readonly T[]>;
  /** Sends it, and returns the report to keep. Null means that there was no need to send it. */
  send(owed: T): Promise<Report | null>;
}

/** The store is read again after each try. This pause keeps a surprise there from becoming a busy loop. */
const NEXT_ROUND_MS = 100;

/** Makes the `sendNext` of a sender that makes at most one try in each turn. */
export function createOutbox<T extends Owed>(options: OutboxOptions<T>): Sender['sendNext'] {
  const { store, laneOf, readOwed, send } = options;
  /** The result of the last try, until the store has it. GitHub takes only 1,000 statuses for a commit. */
  let unkept: { run: Run; report: Report } | null = null;

  async function keep(run: Run, report: Report): Promise<void> {
    unkept = { run, report };
    await store.saveReport(report);
    unkept = null;
  }

  async function makeTry(owed: T): Promise<'tried'> {
    const report = await send(owed);
    if (report !== null) await keep(owed.run, report);
    return 'tried';
  }

  return async function sendNext(aside) {
    if (unkept) {
      const { run, report } = unkept;
      await aside.guard(run, () => keep(run, report));
      unkept = null;
    }
    let waitMs: number | null = null;
    for (const owed of await readOwed(aside)) {
      const { run, report, promised } = owed;
      if (aside.has(run)) continue;
      const lane = laneOf(owed);
      const ms = lane.earliest({ promised, notBefore: report.notBefore }) - lane.now();
      if (ms > 0) {
        waitMs = Math.min(waitMs ?? ms, ms);
        continue;
      }
      if ((await aside.guard(run, () => makeTry(owed))) === null) continue;
      aside.cameThrough();
      return NEXT_ROUND_MS;
    }
    return waitMs;
  };
}

/** Counts failures in a row with the same problem, this one included. */
export function failuresInARow({ problem, failures }: Report, outcome: { problem: string }): number {
  return problem === outcome.problem ? failures + 1 : 1;
}

/** Returns the report after a failed try. A report that is given up has no time of a next try. */
export function afterFailure(
  lane: WriteLane,
  report: Report,
  outcome: Exclude<SendOutcome, { kind: 'ok' }>,
  failures: number,
): { isGivenUp: boolean; report: Report } {
  const isGivenUp = outcome.kind === 'refused' || isExhausted(outcome, failures);
  const notBefore = isGivenUp ? 0 : lane.retryAt(outcome, failures);
  return { isGivenUp, report: { ...report, failures, problem: outcome.problem, notBefore } };
}

function isExhausted({ maxTries }: RetryOutcome, failures: number): boolean {
  return maxTries !== null && failures >= maxTries;
}

/** The report after a success. */
export function afterSuccess(report: Report, sent: string): Report {
  return { ...report, sent, failures: 0, problem: null, notBefore: 0 };
}
