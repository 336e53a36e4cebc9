/** How far a deployment is, in the words of its API: a projection from its events. */

import type { FinalRunState, Run, RunReason, Step } from '../run.ts';
import type { RunEvent } from '../run-events.ts';

export type DeployStatus = 'running' | 'awaiting_approval' | 'success' | 'failed' | 'cancelled';
export type DeployPhase = 'initializing' | 'cloning' | 'init' | 'plan' | 'apply' | 'completed';

export interface Progress {
  status: DeployStatus;
  phase: DeployPhase;
  approved: boolean;
  /** Why it did not succeed, once it has ended; else null. */
  error: string | null;
}

/** Of a deployment nothing is known of. One that waits in the queue is `running` to this API. */
export const NOT_BEGUN: Progress = { status: 'running', phase: 'initializing', approved: false, error: null };

const FINAL: Record<FinalRunState, DeployStatus> = {
  succeeded: 'success',
  failed: 'failed',
  errored: 'failed',
  timed_out: 'failed',
  cancelled: 'cancelled',
  superseded: 'cancelled',
};

/** Of steps that begin one: checks belong to the plan, outputs to the apply. */
const PHASES: Record<string, DeployPhase> = { clone: 'cloning', init: 'init', plan: 'plan', apply: 'apply' };

/** The progress after an event; the same object when that changes nothing. */
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
      // Checks belong to the plan, outputs to the apply; an approved deployment only goes forward.
      return { ...progress, phase: approved ? 'apply' : (PHASES[event.step] ?? progress.phase) };
    case 'step.finished':
      // One that was cut off by a killed server is only ended after its restart.
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

/** Why a run did not succeed, in one sentence, or null. */
export function errorOf(end: Pick<Run, 'state' | 'message'> & { reason: RunReason | null }): string | null {
  if (end.state === 'succeeded') return null;
  // Clients look for these words.
  const untold = end.state === 'timed_out' && !end.message.includes('timed out');
  return untold ? `${end.message} (timed out)` : end.message;
}

/** The phase that a run has reached, from its steps alone, in their order. */
export function phaseReached(steps: readonly Step[]): DeployPhase {
  const begun = steps.filter(({ id, startedAt }) => startedAt !== null && Object.hasOwn(PHASES, id));
  return PHASES[begun.at(-1)?.id ?? ''] ?? 'initializing';
}
