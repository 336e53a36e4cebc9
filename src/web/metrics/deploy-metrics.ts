/** The metrics of deployments, as the store counts them: how many there are and were, and how long they took. */

import { statusOf } from '../../runs/deployments/deploy-progress.ts';
import type { RunTally } from '../../runs/run-tally.ts';
import { SECOND } from '../../units.ts';
import { metricText } from './metric-text.ts';

const STATUSES = ['success', 'failed', 'cancelled'] as const;

export function deploymentMetrics({ open, ended, boundsSeconds }: RunTally): string {
  const deployments = ended.filter(({ kind }) => kind === 'deploy');
  const runsOf = (list: readonly { runs: number }[]) => list.reduce((total, { runs }) => total + runs, 0);
  const within = (bound: number) =>
    runsOf(deployments.filter(({ upToSeconds }) => upToSeconds !== null && upToSeconds <= bound));
  const name = 'iac_runner_deployment_duration_seconds';
  return [
    metricText(
      'counter',
      'iac_runner_deployments_total',
      'Deployments that ended, by status.',
      STATUSES.map((status) => [
        `{status="${status}"}`,
        runsOf(deployments.filter((one) => statusOf(one) === status)),
      ]),
    ),
    metricText(
      'gauge',
      'iac_runner_active_deployments',
      'Deployments that have not ended: waiting, running, or awaiting approval.',
      runsOf(open.filter(({ kind }) => kind === 'deploy')),
    ),
    [
      `# HELP ${name} From the start of deployments that ended to their end, the wait for approval included.`,
      `# TYPE ${name} histogram`,
      ...boundsSeconds.map((bound) => `${name}_bucket{le="${bound}"} ${within(bound)}`),
      `${name}_bucket{le="+Inf"} ${runsOf(deployments)}`,
      `${name}_sum ${deployments.reduce((total, { durationMs }) => total + durationMs, 0) / SECOND}`,
      `${name}_count ${runsOf(deployments)}`,
      '',
    ].join('\n'),
  ].join('\n');
}
