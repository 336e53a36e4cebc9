/** The status object of a deployment, and its line in the list of deployments. */

import { errorOf, NOT_STARTED, type Progress, statusOf } from '../../runs/deployments/deploy-progress.ts';
import { type DeployRun, requestedPriority } from '../../runs/run.ts';
import { rfc3339 } from '../frame/format.ts';
import { createDeployHistories, type DeployHistoriesOptions, type DeployHistory } from './deploy-history.ts';

export interface DeployStatuses {
  /** Resolves to the status object as JSON text. */
  of(run: DeployRun): Promise<string>;
  /** Resolves to the progress at the event with this number; null before the first. */
  progressAt(run: DeployRun, sequence: number): Promise<Progress | null>;
}

export function createDeployStatuses(
  options: DeployHistoriesOptions & { runUrl(runId: string): string },
): DeployStatuses {
  const histories = createDeployHistories(options);
  return {
    of: (run) => histories.render(run.id, (history) => statusJson(run, history, options.runUrl(run.id))),
    async progressAt(run, sequence) {
      if (sequence === 0) return null;
      const { changes } = await histories.read(run.id);
      return changes.findLast(({ seq }) => seq <= sequence)?.progress ?? NOT_STARTED;
    },
  };
}

/**
 * The members up to `apply_output` are those of the earlier API, in its order. A member without a value yet is null,
 * or '' if it is text that grows.
 */
function statusJson(run: DeployRun, history: DeployHistory, runUrl: string): string {
  const { progress, logs, approved } = history;
  const members = {
    deployment_id: JSON.stringify(run.id),
    status: JSON.stringify(progress.status),
    phase: JSON.stringify(progress.phase),
    // To this API a deployment runs from the moment it was requested, and that time never changes.
    started_at: JSON.stringify(rfc3339(run.createdAt)),
    ended_at: JSON.stringify(rfc3339(history.endedAt)),
    error: JSON.stringify(progress.error),
    init_log: `"${logs.init}"`,
    plan_log: `"${logs.plan}"`,
    plan_output: `"${history.plan}"`,
    apply_log: `"${logs.apply}"`,
    apply_output: `"${history.outputs}"`,
    plan_summary: JSON.stringify(history.summary),
    approved_by: JSON.stringify(approved?.by ?? null),
    approved_at: JSON.stringify(rfc3339(approved?.at ?? null)),
    approval_expires_at: JSON.stringify(rfc3339(history.approvalExpiresAt)),
    run_url: JSON.stringify(runUrl),
    operation: JSON.stringify(run.input.operation),
  };
  return `{${Object.entries(members)
    .map(([name, json]) => `"${name}":${json}`)
    .join(',')}}`;
}

export function deploymentJson(run: DeployRun, runUrl: string) {
  const { operation, tool, gitUrl, gitRef, path } = run.input;
  return {
    deployment_id: run.id,
    status: statusOf(run),
    started_at: rfc3339(run.createdAt),
    ended_at: rfc3339(run.finishedAt),
    error: run.finishedAt === null ? null : errorOf(run),
    operation,
    tool,
    git_url: gitUrl,
    git_ref: gitRef,
    path,
    revision: run.revision,
    priority: requestedPriority(run),
    labels: run.labels,
    requested_by: run.trigger.actor,
    approval_expires_at: rfc3339(run.approvalExpiresAt),
    run_url: runUrl,
  };
}
