/** Derives the events of a deployment from the store: which events there are, in which order, and their texts. Pure. */

import { phaseReached } from '../../runs/deployments/deploy-progress.ts';
import { hasChanges, type PlanSummary } from '../../runs/deployments/deployment.ts';
import { type DeployRun, isFinal, type Step } from '../../runs/run.ts';
import type { RunEvent } from '../../runs/run-events.ts';

type DeployEventType =
  | 'deployment.started'
  | 'deployment.awaiting_approval'
  | 'deployment.succeeded'
  | 'deployment.failed'
  | 'deployment.cancelled'
  /** A drift check found a difference. */
  | 'deployment.drifted';

/** The deployment so far, as the store has it. */
export interface DeployFacts {
  run: DeployRun;
  steps: readonly Step[];
  awaiting: Extract<RunEvent, { type: 'run.awaiting_approval' }> | null;
  planned: Extract<RunEvent, { type: 'run.planned' }> | null;
  decided: Extract<RunEvent, { type: 'run.decided' }> | null;
}

export interface DeployEvent {
  type: DeployEventType;
  /** When it happened, in ms since the epoch. */
  at: number;
  /** No event follows it. */
  isLast: boolean;
}

/** The most resources of a plan in an event. */
const RESOURCES = 100;

/** Returns all events so far, the oldest first. A deployment that never started has only its end. */
export function deployEvents({ run, awaiting, planned }: DeployFacts): DeployEvent[] {
  const { startedAt, finishedAt } = run;
  return [
    ...(startedAt === null ? [] : [{ type: 'deployment.started' as const, at: startedAt, isLast: false }]),
    ...(awaiting ? [{ type: 'deployment.awaiting_approval' as const, at: awaiting.at, isLast: false }] : []),
    ...(finishedAt === null || !isFinal(run.state)
      ? []
      : [{ type: lastType(run, planned), at: finishedAt, isLast: true }]),
  ];
}

/**
 * Returns the text that is sent. It describes the deployment at the time of the event, and does not change if the event
 * is sent late. It holds no outputs, environment variables or credentials.
 */
export function eventText(facts: DeployFacts, event: DeployEvent, runUrl: string): string {
  const { run, planned, decided } = facts;
  const { input } = run;
  const started = event.type === 'deployment.started';
  const drifts = input.operation === 'drift' && run.state === 'succeeded' && event.isLast;
  return JSON.stringify({
    type: event.type,
    timestamp: new Date(event.at).toISOString(),
    data: {
      deployment_id: run.id,
      ...progressOf(facts, event),
      operation: input.operation,
      tool: input.tool,
      git_url: input.gitUrl,
      git_ref: input.gitRef,
      commit: started ? null : run.revision,
      path: input.path,
      requested_by: run.trigger.actor,
      plan: started ? null : planOf(planned?.summary ?? null),
      ...(drifts && { drift: hasChanges(planned?.summary ?? null) }),
      approved_by: event.isLast && decided?.decision === 'approved' ? decided.by : null,
      run_url: runUrl,
    },
  });
}

function lastType({ state, input }: DeployRun, planned: DeployFacts['planned']): DeployEventType {
  if (state === 'cancelled' || state === 'superseded') return 'deployment.cancelled';
  if (state !== 'succeeded') return 'deployment.failed';
  const drifted = input.operation === 'drift' && hasChanges(planned?.summary ?? null);
  return drifted ? 'deployment.drifted' : 'deployment.succeeded';
}

/** Returns the progress in the words of the API's status. */
function progressOf({ run, steps, decided }: DeployFacts, { type }: DeployEvent) {
  const none = { reason: null, error: null };
  switch (type) {
    case 'deployment.started':
      return { status: 'running', phase: 'initializing', ...none };
    case 'deployment.awaiting_approval':
      return { status: 'awaiting_approval', phase: 'plan', ...none };
    case 'deployment.succeeded':
    case 'deployment.drifted':
      return { status: 'success', phase: 'completed', ...none };
    case 'deployment.failed':
    case 'deployment.cancelled': {
      const status = type === 'deployment.failed' ? 'failed' : 'cancelled';
      const phase = decided?.decision === 'approved' ? 'apply' : phaseReached(steps);
      return { status, phase, reason: run.reason, error: run.message };
    }
  }
}

function planOf(summary: PlanSummary | null) {
  if (summary === null) return null;
  const { outputs: _names, resources, omitted, ...counts } = summary;
  const shown = resources.slice(0, RESOURCES);
  return {
    ...counts,
    resources: shown,
    omitted: omitted + resources.length - shown.length,
  };
}
