/** Runs and steps as the JSON that callers read: snake_case keys, RFC 3339 times, durations in ms. */

import { askedRevision, RUN_REASONS, type Run, type Step } from '../runs/run.ts';
import type { Explanation } from '../runs/run-events.ts';
import type { Report } from '../runs/run-store.ts';
import { rfc3339 } from './format.ts';
import { branchOf } from './run-words.ts';

/** A run without its steps, as in a list. `url` is the address of its page. */
export function runJson(run: Run, url: string) {
  return {
    run_id: run.id,
    kind: run.kind,
    state: run.state,
    reason: run.reason,
    next_action: nextAction(run),
    message: run.message,
    branch: branchOf(run),
    revision: run.revision,
    requested_revision: askedRevision(run),
    subject: run.subject,
    trigger: {
      source: run.trigger.source,
      actor: run.trigger.actor,
      delivery_id: run.trigger.deliveryId,
      retry_of: run.trigger.retryOf,
    },
    pull_request: 'pullRequest' in run.input ? run.input.pullRequest : null,
    force: run.kind === 'sync' && run.input.force,
    dry_run: run.kind === 'sync' && run.input.dryRun,
    cancel_requested_by: run.cancelRequestedBy,
    covered_by: run.coveredBy,
    attempt: run.attempt,
    created_at: rfc3339(run.createdAt),
    started_at: rfc3339(run.startedAt),
    finished_at: rfc3339(run.finishedAt),
    duration_ms: durationMs(run),
    url,
  };
}

/** `duration_ms` is null until the step has ended. */
export function stepJson(step: Step) {
  return {
    id: step.id,
    state: step.state,
    message: step.message,
    exit_code: step.exitCode,
    wave: step.wave,
    started_at: rfc3339(step.startedAt),
    finished_at: rfc3339(step.finishedAt),
    duration_ms: durationMs(step),
  };
}

/** A run with its steps and, once known, why each service was chosen or not. */
export function runDetailsJson(
  run: Run,
  steps: Step[],
  details: { why: Explanation | null; undelivered: Report[] },
  url: string,
) {
  const { why, undelivered } = details;
  return {
    ...runJson(run, url),
    steps: steps.map(stepJson),
    why,
    undelivered: undelivered.map(({ reporter, target, problem, settled }) => ({
      reporter,
      target,
      problem,
      given_up: settled,
    })),
  };
}

/** What the reader should do now about a bad ending, or null. */
export function nextAction(run: Run): string | null {
  return run.reason === null ? null : RUN_REASONS[run.reason];
}

function durationMs({ startedAt, finishedAt }: { startedAt: number | null; finishedAt: number | null }) {
  return startedAt === null || finishedAt === null ? null : finishedAt - startedAt;
}
