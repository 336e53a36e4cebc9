/** Decides, as events, what happens to a run apart from its own work. Every store uses these words and rules. Pure. */

import { kindOf } from './kinds/kinds.ts';
import { endedBadly, type Run, type RunRequest, requestedPriority, type Trigger } from './run.ts';
import type { ApprovalDecision, RunEventBody } from './run-events.ts';

/** Asks again, when a hold has ended, for the services that it kept a run from syncing. */
export function askedAfterHold(run: Run, services: string[]): RunRequest | null {
  const input = kindOf(run).afterHold?.(run, services);
  // Nobody wants the services of a run any more that somebody cancelled, or that a newer run replaced.
  if (!input || run.state === 'cancelled' || run.state === 'superseded') return null;
  const { kind, concurrencyGroup, labels } = run;
  const trigger = { ...run.trigger, deliveryId: null };
  // The rest of a promotion is for named services, so it takes the place of no other run.
  const coalesce = run.coalesce && (kindOf(run).coalescing?.covers({ trigger, input }) ?? false);
  const priority = requestedPriority(run);
  return {
    kind,
    trigger,
    input,
    concurrencyGroup,
    coalesce,
    dedupeKey: null,
    priority,
    labels,
  } as RunRequest;
}

/**
 * Pub/Sub repeats messages by itself, a comment is written once, and a commit is promoted by itself once. Any other
 * repetition is a person who wants the run again.
 */
const ONCE_ONLY: ReadonlySet<Trigger['source']> = new Set(['pubsub', 'comment', 'automatic_promotion']);

/** True if a request gets the run that already has its dedupe key. */
export function answersAgain(earlier: Run, { trigger }: RunRequest): boolean {
  return ONCE_ONLY.has(trigger.source) || !endedBadly(earlier.state);
}

/** Ends a run that a newer one makes unnecessary. */
export function supersededBy(run: Run, coveredBy: string): RunEventBody {
  const message = kindOf(run).coalescing?.message(run.input) ?? '';
  return { type: 'run.finished', state: 'superseded', reason: 'covered_by_newer', message, coveredBy };
}

/**
 * Decides about a covered run whose commit is not on the branch. Returns no events for any other run, or the second
 * time.
 */
export function uncovered({ state, reason }: Run, message: string): RunEventBody[] {
  const isCovered = state === 'superseded' && reason === 'covered_by_newer';
  return isCovered ? [{ type: 'run.uncovered', message }] : [];
}

/** Returns the covered runs that the events are also about. */
export function uncoveredBy(events: readonly RunEventBody[]): { id: string; message: string }[] {
  return events.flatMap((event) => (event.type === 'run.uncovers' ? event.runs : []));
}

/** Takes back a run whose worker has ended. `openSteps` are its steps that wait or run. */
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

/** After so many hand-backs by servers that cut off its work, the run itself may be what stops them. */
const MAX_HAND_BACKS = 5;

/** True if a run whose work a stopping server cuts off may go on. */
export function mayBeHandedBack({ handBacks }: Pick<Run, 'handBacks'>): boolean {
  return handBacks < MAX_HAND_BACKS;
}

/** Ends a waiting run at once. A running one is only marked, once, and its worker ends it. */
export function cancelRequested(run: Run, openSteps: readonly string[], by: string): RunEventBody[] {
  const requested: RunEventBody = { type: 'run.cancel_requested', by };
  if (run.state === 'running') return run.cancelRequestedBy === null ? [requested] : [];
  return [requested, ...cancelledSteps(openSteps, `Cancelled by ${by}`), cancelled(by)];
}

/**
 * Completes the events of a worker with what the store knows. A run that is to be cancelled ends instead of starting to
 * wait, and no step outlives its run.
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

/** True if `completed` may change these events. */
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

/** Decides about a run that awaits a decision. `subject` is the digest or the commit that the decision is bound to. */
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
