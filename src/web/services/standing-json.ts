/** What a place has, as JSON, and the history of a service. */

import { endedBadly, type Run, type Step } from '../../runs/run.ts';
import { type Hold, holdsAt, holdsOf } from '../../runs/sync/hold.ts';
import type { Place } from '../../runs/sync/place.ts';
import { SERVICE_STATES, type ServiceStanding, type Standing } from '../../runs/sync/standing.ts';
import { environmentName } from '../../triggers/place.ts';
import type { PageOptions } from '../access/guards.ts';
import { rfc3339 } from '../frame/format.ts';
import { holdJson } from '../holds/hold-list.ts';
import { runJson } from '../runs/run-json.ts';

type RunUrl = PageOptions['runUrl'];

/** A place at one moment, with everything that people ask about it first. */
export interface EnvironmentNow {
  place: Place;
  standing: Standing;
  /** The holds that are for the place. */
  holds: readonly Hold[];
  /** The run that is worked on, or null. */
  running: Run | null;
}

/** The numbers of services in each state, for a list of places. */
export function environmentSummaryJson(now: EnvironmentNow, runUrl: RunUrl) {
  const { services } = now.standing;
  const counts = SERVICE_STATES.map((state) => [state, services.filter((one) => one.state === state).length]);
  return { ...headJson(now, runUrl), services: Object.fromEntries(counts) };
}

/** Each service with its state. */
export function environmentJson(now: EnvironmentNow, runUrl: RunUrl) {
  const services = now.standing.services.map((one) => standingJson(one, now, runUrl));
  return { ...headJson(now, runUrl), services };
}

function headJson({ place, standing, holds, running }: EnvironmentNow, runUrl: RunUrl) {
  return {
    name: environmentName(place),
    repository: place.repository,
    follows: place.branch,
    head: standing.head?.commit ?? null,
    head_subject: standing.head?.subject ?? null,
    problem: standing.problem,
    remarks: standing.remarks,
    holds: holds.map(holdJson),
    running: running && runJson(running, runUrl(running.id)),
  };
}

export function standingJson(one: ServiceStanding, { place, holds }: EnvironmentNow, runUrl: RunUrl) {
  const [hold] = holdsOf(one.service, holdsAt(place, holds));
  return {
    id: one.service,
    state: one.state,
    commit: one.synced?.commit ?? null,
    behind_by: one.behindBy,
    last_run: one.lastRunId,
    last_run_url: one.lastRunId && runUrl(one.lastRunId),
    message: one.message,
    folder: one.folder,
    wave: one.wave,
    synced_at: rfc3339(one.synced?.at ?? null),
    pinned_to: one.pin,
    hold: hold ? holdJson(hold) : null,
  };
}

export interface PastRun {
  run: Run;
  step: Step;
}

export function pastRunJson({ run, step }: PastRun, runUrl: RunUrl) {
  const { startedAt, finishedAt } = step;
  return {
    run_id: run.id,
    url: runUrl(run.id),
    commit: run.revision,
    subject: run.subject,
    outcome: outcomeOf({ run, step }),
    actor: run.trigger.actor,
    started_at: rfc3339(startedAt ?? run.startedAt),
    duration_ms: startedAt === null || finishedAt === null ? null : finishedAt - startedAt,
  };
}

/** A step that had not started when its run ended has the outcome of the run. */
export function outcomeOf({ run, step }: PastRun): Step['state'] | Run['state'] {
  return step.state === 'pending' && endedBadly(run.state) ? run.state : step.state;
}
