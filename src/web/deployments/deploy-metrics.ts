/** The metrics of deployments, as the store counts them: how many there are and were, and how long they took. */

import { statusOf } from '../../runs/deployments/deploy-progress.ts';
import type { RunTally } from '../../runs/run-store.ts';

const STATUSES = ['success', 'failed', 'cancelled'] as const;

/** In the text format of Prometheus: the library would count for itself what is counted already. */
export function deploymentMetrics({ open, ended, boundsSeconds }: RunTally): string {
  const deployments = ended.filter(({ kind }) => kind === 'deploy');
  const runsOf = (list: readonly { runs: number }[]) => list.reduce((total, { runs }) => total + runs, 0);
  const within = (bound: number) =>
    runsOf(deployments.filter(({ upToSeconds }) => upToSeconds !== null && upToSeconds <= bound));
  const ofStatus = (status: string) => runsOf(deployments.filter((one) => statusOf(one) === status));
  const name = 'iac_runner_deployment_duration_seconds';
  return [
    '# HELP iac_runner_deployments_total Deployments that ended, by status.',
    '# TYPE iac_runner_deployments_total counter',
    ...STATUSES.map((status) => `iac_runner_deployments_total{status="${status}"} ${ofStatus(status)}`),
    '',
    '# HELP iac_runner_active_deployments Deployments that have not ended: waiting, running, or awaiting approval.',
    '# TYPE iac_runner_active_deployments gauge',
    `iac_runner_active_deployments ${runsOf(open.filter(({ kind }) => kind === 'deploy'))}`,
    '',
    `# HELP ${name} From the start of deployments that ended to their end, the wait for approval included.`,
    `# TYPE ${name} histogram`,
    ...boundsSeconds.map((bound) => `${name}_bucket{le="${bound}"} ${within(bound)}`),
    `${name}_bucket{le="+Inf"} ${runsOf(deployments)}`,
    `${name}_sum ${deployments.reduce((total, { durationMs }) => total + durationMs, 0) / 1000}`,
    `${name}_count ${runsOf(deployments)}`,
    '',
  ].join('\n');
}
