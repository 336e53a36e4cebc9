/** Projects the events of a run to the run and its steps. Pure. */

import { approvedPriority, isFinal, type Run, type Step, stepTransition, transition } from '../run.ts';
import type { ApprovalDecision, RunEventBody } from '../run-events.ts';

/** Returns the run after the event; the same object if the event does not change it. */
export function projectRun(run: Run, event: RunEventBody, at: number): Run {
  switch (event.type) {
    case 'run.started':
      return {
        ...run,
        state: transition(run.state, 'running'),
        attempt: event.attempt,
        startedAt: run.startedAt ?? at,
      };
    case 'run.revision':
      return { ...run, revision: event.revision, subject: event.subject };
    case 'run.chosen':
      return { ...run, chosen: event.count, message: event.message };
    case 'run.cancel_requested':
      return isFinal(run.state) ? run : { ...run, cancelRequestedBy: run.cancelRequestedBy ?? event.by };
    case 'run.requeued':
      return requeued(run, event);
    case 'run.released':
      return { ...run, message: event.message, notBefore: 0 };
    case 'run.awaiting_approval':
      return {
        ...run,
        state: transition(run.state, 'awaiting_approval'),
        message: event.message,
        approvalExpiresAt: event.expiresAt,
      };
    case 'run.decided':
      return decided(run, event);
    case 'run.uncovered':
      return { ...run, reason: 'not_on_branch', message: event.message };
    case 'run.finished':
      return {
        ...run,
        approvalExpiresAt: null,
        state: transition(run.state, event.state),
        reason: event.reason,
        message: event.message,
        coveredBy: event.coveredBy,
        finishedAt: at,
      };
    default:
      return run;
  }
}

function requeued(run: Run, event: Extract<RunEventBody, { type: 'run.requeued' }>): Run {
  return {
    ...run,
    state: transition(run.state, 'queued'),
    message: event.message,
    chosen: 0,
    notBefore: event.notBefore,
    attempt: event.countAttempt ? run.attempt : Math.max(0, run.attempt - 1),
    handBacks: event.handedBack ? run.handBacks + 1 : run.handBacks,
  };
}

/**
 * Any worker starts an approved run, with attempts counted from 0. A run that has started before goes on before all
 * others, because its group waited for it. A rejected run ends by `run.finished`.
 */
function decided(run: Run, { decision, by }: { decision: ApprovalDecision; by: string }): Run {
  if (decision !== 'approved') return run;
  return {
    ...run,
    state: transition(run.state, 'queued'),
    message: `Approved by ${by}`,
    priority: run.attempt > 0 ? approvedPriority(run) : run.priority,
    attempt: 0,
    handBacks: 0,
    approvalExpiresAt: null,
  };
}

/** Returns the step after the event, or undefined if the event is not about the state of a step. */
export function projectStep(step: Step | undefined, event: RunEventBody, at: number): Step | undefined {
  if (event.type === 'step.planned') {
    return {
      id: event.step,
      position: event.position,
      wave: event.wave,
      state: step ? stepTransition(step.state, 'pending') : 'pending',
      message: event.message,
      exitCode: null,
      startedAt: null,
      finishedAt: null,
    };
  }
  if (event.type === 'step.started' || event.type === 'step.finished') {
    if (!step) throw new Error(`Step ${event.step} was never planned.`);
    if (event.type === 'step.started') {
      return { ...step, state: stepTransition(step.state, 'running'), message: 'Running', startedAt: at };
    }
    return {
      ...step,
      state: stepTransition(step.state, event.state),
      message: event.message,
      exitCode: event.exitCode,
      finishedAt: at,
    };
  }
  return undefined;
}
