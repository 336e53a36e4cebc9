/** GET /metrics for Prometheus: runs and deployments as the store counts them, and the process itself. */

import { Hono } from 'hono';
import { type Fleet, isSilent } from '../../runs/fleet.ts';
import type { JobQueue } from '../../runs/job.ts';
import type { RunStore, RunTally } from '../../runs/run-store.ts';
import { createGuards, type GuardsOptions, type RunPageEnv } from '../access/guards.ts';
import { deploymentMetrics } from '../deployments/deploy-metrics.ts';
import type { Gate } from '../doors/gate.ts';

export interface MetricsOptions extends GuardsOptions {
  store: Pick<RunStore, 'run' | 'tally'>;
  /** Those that share the store; null or left out: nobody does. */
  fleet?: Pick<Fleet, 'workers' | 'oldestWaiting'> | null;
  /** Failed authentications since the start, by what was wrong. */
  failures: Gate['failures'];
  /** The queue of jobs; null or left out: this server is told of none. */
  jobs?: { queue(): Promise<JobQueue> } | null;
}

/** Runs are counted by the store, so a restart changes none of their numbers. Labels are names of closed lists. */
export function createMetricsRoutes(options: MetricsOptions): Hono<RunPageEnv> {
  const { signedIn } = createGuards(options);
  let metrics: ReturnType<typeof createMetrics> | null = null;
  const routes = new Hono<RunPageEnv>();
  routes.get('/metrics', signedIn, async (c) => {
    metrics ??= createMetrics();
    const { contentType, render } = await metrics;
    const text = await render(await options.store.tally());
    const shared = options.fleet ? await fleetMetrics(options.fleet) : '';
    const jobs = options.jobs ? await jobMetrics(options.jobs) : '';
    return c.body(`${text}${failureMetrics(options.failures())}${shared}${jobs}`, 200, {
      'Content-Type': contentType,
      'Cache-Control': 'no-store',
    });
  });
  return routes;
}

async function createMetrics() {
  // Loading it takes longer than all else that has to be done before the first answer.
  const { collectDefaultMetrics, Counter, Gauge, Registry } = await import('prom-client');
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const runs = new Gauge({
    name: 'iac_runner_runs',
    help: 'Runs that have not ended.',
    labelNames: ['kind', 'state'],
    registers,
  });
  const ended = new Counter({
    name: 'iac_runner_runs_ended_total',
    help: 'Runs that ended, by how.',
    labelNames: ['kind', 'state'],
    registers,
  });
  const queue = new Gauge({ name: 'iac_runner_queue_length', help: 'Runs that are queued.', registers });

  /** The numbers are put in without a pause between them, so that scrapes at the same time do not mix. */
  function count(tally: RunTally): void {
    for (const metric of [runs, ended, queue]) metric.reset();
    for (const { kind, state, runs: number } of tally.open) {
      runs.inc({ kind, state }, number);
      if (state === 'queued') queue.inc(number);
    }
    for (const { kind, state, runs: number } of tally.ended) ended.inc({ kind, state }, number);
  }

  return {
    contentType: registry.contentType,
    render(tally: RunTally): Promise<string> {
      count(tally);
      return registry.metrics().then((text) => `${text}\n${deploymentMetrics(tally)}`);
    },
  };
}

/** Since the start of this process, as Prometheus expects of a counter. */
function failureMetrics(failures: ReturnType<Gate['failures']>): string {
  const name = 'iac_runner_failed_authentications_total';
  return [
    `# HELP ${name} Requests with a wrong signature or token, since the start.`,
    `# TYPE ${name} counter`,
    ...[...failures].map(([credential, number]) => `${name}{credential="${credential}"} ${number}`),
    '',
  ].join('\n');
}

/** Of the machines that share the store: the same from each of them. */
async function fleetMetrics(fleet: Pick<Fleet, 'workers' | 'oldestWaiting'>): Promise<string> {
  const [{ workers, now }, oldest] = await Promise.all([fleet.workers(), fleet.oldestWaiting()]);
  const alive = workers.filter((worker) => !isSilent(worker, now));
  const waitingSeconds = oldest === null ? 0 : Math.max(0, now - oldest) / 1_000;
  return [
    '# HELP iac_runner_workers Processes that share the store and gave a sign of life lately.',
    '# TYPE iac_runner_workers gauge',
    ...(['serve', 'worker'] as const).map((command) => {
      return `iac_runner_workers{command="${command}"} ${alive.filter((one) => one.command === command).length}`;
    }),
    '# HELP iac_runner_workers_silent Processes that were heard of, but not lately.',
    '# TYPE iac_runner_workers_silent gauge',
    `iac_runner_workers_silent ${workers.length - alive.length}`,
    '# HELP iac_runner_queue_oldest_seconds How long the oldest run waits; 0 when none does.',
    '# TYPE iac_runner_queue_oldest_seconds gauge',
    `iac_runner_queue_oldest_seconds ${waitingSeconds}`,
    '',
  ].join('\n');
}

/** Without numbers while Redis does not answer: the others are shown all the same. */
async function jobMetrics(jobs: { queue(): Promise<JobQueue> }): Promise<string> {
  const queue = await jobs.queue().catch(() => null);
  if (queue === null) return '';
  return [
    '# HELP iac_runner_jobs_stream_depth Entries of jobs:stream: of jobs that wait and of those that run.',
    '# TYPE iac_runner_jobs_stream_depth gauge',
    `iac_runner_jobs_stream_depth ${queue.depth}`,
    '# HELP iac_runner_jobs_running Jobs of jobs:stream that a worker has begun.',
    '# TYPE iac_runner_jobs_running gauge',
    `iac_runner_jobs_running ${queue.running}`,
    '# HELP iac_runner_jobs_oldest_seconds How long the oldest job waits; 0 when none does.',
    '# TYPE iac_runner_jobs_oldest_seconds gauge',
    `iac_runner_jobs_oldest_seconds ${(queue.oldestWaitingMs ?? 0) / 1_000}`,
    '',
  ].join('\n');
}
