/** Runs and steps as JSON: snake_case keys, RFC 3339 times, durations in ms. */

import { kindOf, nextActionOf } from '../../runs/kinds/kinds.ts';
import { askedRevision, type Run, type Step } from '../../runs/run.ts';
import type { ToolDetails } from '../deployments/tool-details.ts';
import { rfc3339 } from '../frame/format.ts';
import type { Approval } from './approval-view.ts';
import type { RunView } from './run-page.ts';
import { branchOf } from './run-words.ts';

/** A run without its steps, as in a list. `url` is the address of its page. */
export function runJson(run: Run, url: string) {
  const { json, tool } = kindOf(run);
  return {
    run_id: run.id,
    kind: run.kind,
    state: run.state,
    reason: run.reason,
    next_action: nextActionOf(run),
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
    force: 'force' in run.input && run.input.force,
    dry_run: 'dryRun' in run.input && run.input.dryRun,
    cancel_requested_by: run.cancelRequestedBy,
    covered_by: run.coveredBy,
    attempt: run.attempt,
    created_at: rfc3339(run.createdAt),
    ...timesJson(run),
    url,
    ...json?.(run),
    ...((tool || run.approvalExpiresAt !== null) && {
      approval_expires_at: rfc3339(run.approvalExpiresAt),
    }),
  };
}

/** `duration_ms` is null until the end. */
function timesJson({ startedAt, finishedAt }: { startedAt: number | null; finishedAt: number | null }) {
  return {
    started_at: rfc3339(startedAt),
    finished_at: rfc3339(finishedAt),
    duration_ms: startedAt === null || finishedAt === null ? null : finishedAt - startedAt,
  };
}

function stepJson(step: Step) {
  const { id, state, message, exitCode: exit_code, wave } = step;
  return { id, state, message, exit_code, wave, ...timesJson(step) };
}

/** A run with its steps and, once known, why each service was chosen or not, or what was planned and decided. */
export function runDetailsJson(
  {
    run,
    steps,
    explanation,
    undelivered,
    tool,
    approval,
    waitsFor,
  }: Pick<RunView, 'run' | 'steps' | 'explanation' | 'undelivered' | 'tool' | 'approval' | 'waitsFor'>,
  url: string,
) {
  return {
    ...runJson(run, url),
    ...(waitsFor !== null && { waits_for: waitsFor }),
    steps: steps.map(stepJson),
    why: explanation,
    undelivered: undelivered.map(({ reporter, target, problem, settled }) => ({
      reporter,
      target,
      problem,
      given_up: settled,
    })),
    ...(tool && toolJson(tool)),
    ...(!tool && approval && { approval: approvalJson(approval) }),
  };
}

/** `plan_summary` is that of the only plan; when there are several, each has its own. */
function toolJson({ roots, approval }: ToolDetails) {
  const [first, ...others] = roots;
  return {
    plan_summary: others.length === 0 ? (first?.plan?.summary ?? null) : null,
    plans: roots.map(({ step, directory, plan, problem }) => ({
      step,
      path: directory,
      summary: plan?.summary ?? null,
      problem: problem?.problem ?? null,
      next_action: problem?.nextAction ?? null,
    })),
    approval: approval && approvalJson(approval),
  };
}

/** The approval is bound to `subject`: the SHA-256 of the plan, or the commit. */
function approvalJson({ subject, expiresAt, decided }: Approval) {
  return {
    subject,
    expires_at: rfc3339(expiresAt),
    decision: decided?.decision ?? null,
    by: decided?.by ?? null,
    at: rfc3339(decided?.at ?? null),
  };
}
