/** Projects the progress of a deployment from its events, in the words of its API. */

import type { FinalRunState, Run, Step } from '../run.ts';
import type { RunEvent } from '../run-events.ts';
import type { RunReason } from '../run-reasons.ts';

export type DeployStatus = 'running' | 'awaiting_approval' | 'success' | 'failed' | 'cancelled';
export type DeployPhase = 'initializing' | 'cloning' | 'init' | 'plan' | 'apply' | 'completed';

export interface Progress {
  status: DeployStatus;
  phase: DeployPhase;
  approved: boolean;
  /** Why it did not succeed, once it has ended; else null. */
  error: string | null;
}

/** The progress before the first event. In this API a deployment that waits in the queue is `running`. */
export const NOT_STARTED: Progress = {
  status: 'running',
  phase: 'initializing',
  approved: false,
  error: null,
};

const FINAL: Record<FinalRunState, DeployStatus> = {
  succeeded: 'success',
  failed: 'failed',
  errored: 'failed',
  timed_out: 'failed',
  cancelled: 'cancelled',
  superseded: 'cancelled',
};

/** The steps that start a phase. Checks belong to the plan, outputs to the apply. */
const PHASES: Record<string, DeployPhase> = { clone: 'cloning', init: 'init', plan: 'plan', apply: 'apply' };

/** Returns the progress after an event; the same object if the event changes nothing. */
export function projectProgress(progress: Progress, event: RunEvent): Progress {
  const next = afterEvent(progress, event);
  const same =
    next.status === progress.status &&
    next.phase === progress.phase &&
    next.approved === progress.approved &&
    next.error === progress.error;
  return same ? progress : next;
}

function afterEvent(progress: Progress, event: RunEvent): Progress {
  const { approved } = progress;
  switch (event.type) {
    case 'run.started':
    case 'run.requeued':
      return { ...progress, status: 'running', phase: approved ? 'apply' : 'initializing' };
    case 'step.started':
      // An approved deployment only goes forward.
      return { ...progress, phase: approved ? 'apply' : (PHASES[event.step] ?? progress.phase) };
    case 'step.finished':
      // A step that a killed server cut off ends only after the restart.
      return event.step === 'apply' && event.state === 'failed' ? { ...progress, phase: 'apply' } : progress;
    case 'run.awaiting_approval':
      return { ...progress, status: 'awaiting_approval', phase: 'plan' };
    case 'run.decided':
      return event.decision === 'approved'
        ? { ...progress, status: 'running', phase: 'apply', approved: true }
        : progress;
    case 'run.finished':
      return {
        ...progress,
        status: FINAL[event.state],
        phase: event.state === 'succeeded' ? 'completed' : progress.phase,
        error: errorOf(event),
      };
    default:
      return progress;
  }
}

export function statusOf({ state }: Pick<Run, 'state'>): DeployStatus {
  if (state === 'awaiting_approval') return state;
  return state === 'queued' || state === 'running' ? 'running' : FINAL[state];
}

/** Returns one sentence on why a run did not succeed, or null. */
export function errorOf(end: Pick<Run, 'state' | 'message'> & { reason: RunReason | null }): string | null {
  if (end.state === 'succeeded') return null;
  // Clients look for the words "timed out".
  const isUnsaid = end.state === 'timed_out' && !end.message.includes('timed out');
  return isUnsaid ? `${end.message} (timed out)` : end.message;
}

/** Finds the phase that a run has reached from its steps, in their order. */
export function phaseReached(steps: readonly Step[]): DeployPhase {
  const started = steps.filter(({ id, startedAt }) => startedAt !== null && Object.hasOwn(PHASES, id));
  return PHASES[started.at(-1)?.id ?? ''] ?? 'initializing';
}
