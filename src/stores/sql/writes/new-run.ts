/** Makes the run of a request. */

import { kindOf } from '../../../runs/kinds/kinds.ts';
import { projectRun } from '../../../runs/projections/project-run.ts';
import type { Run, RunRequest } from '../../../runs/run.ts';
import type { RunEventBody } from '../../../runs/run-events.ts';
import { timeOrderedId } from './time-ordered-id.ts';

/** Returns the events that the log of a new run begins with. */
export function firstEvents({ approval }: RunRequest): RunEventBody[] {
  const queued: RunEventBody = { type: 'run.queued' };
  return approval ? [queued, { type: 'run.awaiting_approval', ...approval }] : [queued];
}

export function newRun(request: RunRequest, now: number): Run {
  const { kind, trigger, input, concurrencyGroup, coalesce, dedupeKey } = request;
  const { priority = 0, labels = [], subject = null } = request;
  const run = {
    id: timeOrderedId(now),
    kind,
    trigger,
    input,
    concurrencyGroup,
    coalesce,
    dedupeKey,
    priority,
    labels,
    state: 'queued',
    reason: null,
    message: kindOf(request).queued,
    coveredBy: null,
    createdAt: now,
    startedAt: null,
    finishedAt: null,
    notBefore: 0,
    approvalExpiresAt: null,
    cancelRequestedBy: null,
    revision: null,
    subject,
    attempt: 0,
    handBacks: 0,
    chosen: 0,
  } as Run;
  return firstEvents(request).reduce((before, event) => projectRun(before, event, now), run);
}
