/** GET /metrics for Prometheus: runs and deployments as the store counts them, and the process itself. */

import { Hono } from 'hono';
import { type Fleet, isSilent } from '../../runs/fleet.ts';
import type { JobQueue } from '../../runs/job.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { RunTally } from '../../runs/run-tally.ts';
import { SECOND } from '../../units.ts';
import type { RunPageEnv } from '../access/access.ts';
import { createGuards, type GuardsOptions } from '../access/guards.ts';
import type { Gate } from '../doors/gate.ts';
import { deploymentMetrics } from './deploy-metrics.ts';
import { metricText } from './metric-text.ts';

export interface MetricsOptions extends GuardsOptions {
  store: Pick<RunStore, 'run' | 'tally' | 'holds'>;
  /** The machines that share the store; null or left out if no other machine does. */
  fleet?: Pick<Fleet, 'workers' | 'oldestWaiting'> | null;
  /** Failed authentications since the start, by credential. */
  failures: Gate['failures'];
  /** The queue of jobs; null or left out if REDIS_URL is not set. */
  jobs?: { queue(): Promise<JobQueue> } | null;
}

/** The store counts the runs, so a restart changes none of their numbers. Labels are names of closed lists. */
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
    const holds = holdMetrics((await options.store.holds()).length);
    return c.body(`${text}${failureMetrics(options.failures())}${holds}${shared}${jobs}`, 200, {
      'Content-Type': contentType,
      'Cache-Control': 'no-store',
    });
  });
  return routes;
}

async function createMetrics() {
  // Loading the library takes longer than everything else that the server does before its first answer.
  const { collectDefaultMetrics, Counter, Gauge, Registry } = await import('prom-client');
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const shared = { labelNames: ['kind', 'state'], registers: [registry] };
  const runs = new Gauge({ ...shared, name: 'iac_runner_runs', help: 'Runs that have not ended.' });
  const ended = new Counter({
    ...shared,
    name: 'iac_runner_runs_ended_total',
    help: 'Ended runs, by outcome.',
  });
  const queue = new Gauge({
    registers: [registry],
    name: 'iac_runner_queue_length',
    help: 'Runs that are queued.',
  });

  /** Sets all numbers without a pause between them, so that scrapes at the same time do not mix. */
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

function failureMetrics(failures: ReturnType<Gate['failures']>): string {
  return metricText(
    'counter',
    'iac_runner_failed_authentications_total',
    'Requests with a wrong signature or token, since the start.',
    [...failures].map(([credential, number]) => [`{credential="${credential}"}`, number]),
  );
}

function holdMetrics(holds: number): string {
  return metricText('gauge', 'iac_runner_holds', 'Holds that stand.', holds);
}

/** The metrics of the machines that share the store, which are the same from each of them. */
async function fleetMetrics(fleet: Pick<Fleet, 'workers' | 'oldestWaiting'>): Promise<string> {
  const [{ workers, now }, oldest] = await Promise.all([fleet.workers(), fleet.oldestWaiting()]);
  const alive = workers.filter((worker) => !isSilent(worker, now));
  const waitingSeconds = oldest === null ? 0 : Math.max(0, now - oldest) / SECOND;
  return [
    metricText(
      'gauge',
      'iac_runner_workers',
      'Processes that share the store and gave a sign of life lately.',
      (['serve', 'worker'] as const).map((command) => [
        `{command="${command}"}`,
        alive.filter((one) => one.command === command).length,
      ]),
    ),
    metricText(
      'gauge',
      'iac_runner_workers_silent',
      'Processes that share the store and have given no sign of life lately.',
      workers.length - alive.length,
    ),
    metricText(
      'gauge',
      'iac_runner_queue_oldest_seconds',
      'How long the oldest run waits for anything but the end of a hold; 0 when none does.',
      waitingSeconds,
    ),
  ].join('');
}

/** Empty while Redis does not answer, so that the other metrics are shown all the same. */
async function jobMetrics(jobs: { queue(): Promise<JobQueue> }): Promise<string> {
  const queue = await jobs.queue().catch(() => null);
  if (queue === null) return '';
  return [
    metricText(
      'gauge',
      'iac_runner_jobs_stream_depth',
      'Entries of jobs:stream, of waiting and running jobs.',
      queue.depth,
    ),
    metricText(
      'gauge',
      'iac_runner_jobs_running',
      'Jobs of jobs:stream that a worker has started.',
      queue.running,
    ),
    metricText(
      'gauge',
      'iac_runner_jobs_oldest_seconds',
      'How long the oldest job waits; 0 when none does.',
      (queue.oldestWaitingMs ?? 0) / SECOND,
    ),
  ].join('');
}
