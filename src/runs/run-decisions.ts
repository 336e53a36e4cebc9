/** What becomes of a run besides its own work, as events: the same words and rules in every store. Pure. */

import { kindOf } from './kinds/kinds.ts';
import { endedBadly, type Run, type RunRequest } from './run.ts';
import type { ApprovalDecision, RunEventBody } from './run-events.ts';

/** Whether a request gets the run that its dedupe key stands for already. */
export function answersAgain(earlier: Run, { trigger }: RunRequest): boolean {
  // Pub/Sub sends again by itself, and a comment is written once; elsewhere a second time is a person who wants it
  // done again.
  const isOnceOnly = trigger.source === 'pubsub' || trigger.source === 'comment';
  return isOnceOnly || !endedBadly(earlier.state);
}

/** A run that a newer one makes needless. */
export function supersededBy(run: Run, coveredBy: string): RunEventBody {
  const message = kindOf(run).coalescing?.message ?? '';
  return { type: 'run.finished', state: 'superseded', reason: 'covered_by_newer', message, coveredBy };
}

/** A covered run whose commit turns out not to be on the branch. Nothing when it is none, or is so already. */
export function uncovered({ state, reason }: Run, message: string): RunEventBody[] {
  const isCovered = state === 'superseded' && reason === 'covered_by_newer';
  return isCovered ? [{ type: 'run.uncovered', message }] : [];
}

/** The covered runs that events are about, too. */
export function uncoveredBy(events: readonly RunEventBody[]): { id: string; message: string }[] {
  return events.flatMap((event) => (event.type === 'run.uncovers' ? event.runs : []));
}

/** A run whose worker is gone. `openSteps` are those that have begun to wait or run and not ended. */
export function takenBack(run: Run, openSteps: readonly string[], maxAttempts: number): RunEventBody[] {
  if (run.cancelRequestedBy === null && run.attempt < maxAttempts) {
    const message = `Attempt ${run.attempt} was cut off; waiting to be tried again.`;
    return [{ type: 'run.requeued', message, countAttempt: true, notBefore: 0 }];
  }
  return [
    ...cancelledSteps(openSteps, 'The runner stopped before this ended.'),
    run.cancelRequestedBy === null
      ? {
          type: 'run.finished',
          state: 'errored',
          reason: 'attempts_exhausted',
          message: `Cut off ${run.attempt} times.`,
          coveredBy: null,
        }
      : cancelled(run.cancelRequestedBy),
  ];
}

/** So often a run is handed back by servers that cut off its work: it may be the run itself that stops them. */
const MAX_HAND_BACKS = 5;

/** Whether a run whose work is cut off by a server that stops goes on, or ends. */
export function mayBeHandedBack({ handBacks }: Pick<Run, 'handBacks'>): boolean {
  return handBacks < MAX_HAND_BACKS;
}

/** A waiting run ends at once; a running one is only marked, once, and ended by its worker. */
export function cancelRequested(run: Run, openSteps: readonly string[], by: string): RunEventBody[] {
  const requested: RunEventBody = { type: 'run.cancel_requested', by };
  if (run.state === 'running') return run.cancelRequestedBy === null ? [requested] : [];
  return [requested, ...cancelledSteps(openSteps, `Cancelled by ${by}`), cancelled(by)];
}

/**
 * What a worker's events become with what the store knows: a run that is to be cancelled ends where it would begin to
 * wait, for whatever, and no step outlives its run.
 */
export function completed(
  { cancelRequestedBy: by }: Run,
  events: RunEventBody[],
  openSteps: readonly string[],
): RunEventBody[] {
  const ended = new Set(events.map((event) => (event.type === 'step.finished' ? event.step : null)));
  const open = openSteps.filter((step) => !ended.has(step));
  return events.flatMap((event) => {
    if (by !== null && waits(event)) return [...cancelledSteps(open, `Cancelled by ${by}`), cancelled(by)];
    if (event.type !== 'run.finished') return [event];
    const message = event.state === 'cancelled' ? event.message : 'The run ended before this';
    return [...cancelledSteps(open, message), event];
  });
}

/** Whether `completed` may change these events. */
export function areLast(events: readonly RunEventBody[]): boolean {
  return events.some((event) => event.type === 'run.finished' || waits(event));
}

function waits({ type }: RunEventBody): boolean {
  return type === 'run.awaiting_approval' || type === 'run.requeued';
}

function cancelled(by: string): RunEventBody {
  return {
    type: 'run.finished',
    state: 'cancelled',
    reason: 'cancelled_by_request',
    message: `Cancelled by ${by}`,
    coveredBy: null,
  };
}

const ENDINGS = {
  rejected: { reason: 'rejected', words: (by: string) => `Rejected by ${by}` },
  expired: { reason: 'approval_expired', words: () => 'Nobody approved in time' },
} as const;

/** A decision about a run that awaits one. `subject` is what was awaited: what is done later is held against it. */
export function decisionEvents(
  subject: string,
  openSteps: readonly string[],
  { decision, by }: { decision: ApprovalDecision; by: string },
): RunEventBody[] {
  const decided: RunEventBody = { type: 'run.decided', decision, by, subject };
  if (decision === 'approved') return [decided];
  const { reason, words } = ENDINGS[decision];
  const message = words(by);
  return [
    decided,
    ...cancelledSteps(openSteps, message),
    { type: 'run.finished', state: 'cancelled', reason, message, coveredBy: null },
  ];
}

function cancelledSteps(steps: readonly string[], message: string): RunEventBody[] {
  return steps.map((step) => ({
    type: 'step.finished',
    step,
    state: 'cancelled',
    message,
    exitCode: null,
    ledger: null,
  }));
}
