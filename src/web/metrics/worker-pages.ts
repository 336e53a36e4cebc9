/** GET /workers: the machines that share the store, the runs that each works on, and the length of the queue. */

import { Hono } from 'hono';
import { html } from 'hono/html';
import { describeError } from '../../errors.ts';
import { whyItWaits } from '../../runs/deployments/takers.ts';
import { type Fleet, isSilent, type WorkerSign } from '../../runs/fleet.ts';
import type { JobQueue } from '../../runs/job.ts';
import { kindOf } from '../../runs/kinds/kinds.ts';
import type { RunKind } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { SECOND } from '../../units.ts';
import type { RunPageEnv } from '../access/access.ts';
import { createGuards, type GuardsOptions } from '../access/guards.ts';
import { plainLine } from '../frame/ansi.ts';
import { formatDuration, rfc3339 } from '../frame/format.ts';
import { type Html, type PageFrame, page } from '../frame/layout.ts';
import { pageHeaders, prefersJson } from '../frame/page-headers.ts';
import { moment, runLink } from '../runs/run-words.ts';

export interface WorkerRoutesOptions extends GuardsOptions {
  store: Pick<RunStore, 'run' | 'runs' | 'tally'>;
  /** The machines that share the store, or null if no other machine does. */
  fleet: Fleet | null;
  /** The queue of jobs, or null if REDIS_URL is not set. */
  jobs: { queue(): Promise<JobQueue> } | null;
  clock: () => number;
}

interface Found {
  workers: WorkerSign[];
  /** The time by the clock of the store, like the times of the workers. */
  now: number;
  queued: number;
  running: number;
  /** How many runs of each kind are queued, most first; kinds without any are left out. */
  queuedKinds: [kind: RunKind, runs: number][];
  /** How many queued deployments need machines with these labels. */
  queuedLabels: [labels: string, runs: number][];
  oldestWaitingMs: number | null;
  /** Queued deployments that no machine takes, and why. */
  stuck: { runId: string; problem: string }[];
  /** Null without jobs; a sentence about the problem when Redis does not answer. */
  jobs: JobQueue | string | null;
}

/** How many queued deployments are examined for those that no machine takes. */
const QUEUED_RUNS = 200;

export function createWorkerRoutes(options: WorkerRoutesOptions): Hono<RunPageEnv> {
  const { signedIn } = createGuards(options);
  const { assets } = options;
  const routes = new Hono<RunPageEnv>();
  routes.use('/workers', pageHeaders());
  routes.get('/workers', signedIn, async (c) => {
    const found = await look(options);
    c.header('Vary', 'Accept');
    if (prefersJson(c)) return c.json(toJson(found));
    return c.html(workerPage({ identity: c.var.identity, assets }, found, options.fleet !== null));
  });
  return routes;
}

async function look({ store, fleet, jobs, clock }: WorkerRoutesOptions): Promise<Found> {
  const [{ open }, signs, oldest, jobQueue] = await Promise.all([
    store.tally(),
    fleet?.workers() ?? { workers: [], now: clock() },
    fleet?.oldestWaiting() ?? null,
    jobs?.queue().catch((error: unknown) => describeError(error)) ?? null,
  ]);
  const queued = fleet ? await store.runs({ state: 'queued', kind: 'deploy', limit: QUEUED_RUNS }) : [];
  const count = (state: string) => open.reduce((sum, one) => sum + (one.state === state ? one.runs : 0), 0);
  return {
    ...signs,
    queued: count('queued'),
    running: count('running'),
    queuedKinds: tallied(open.flatMap(({ kind, state, runs }) => (state === 'queued' ? [[kind, runs]] : []))),
    queuedLabels: tallied(
      queued.flatMap(({ labels }) => (labels.length > 0 ? [[labels.join(', '), 1]] : [])),
    ),
    oldestWaitingMs: oldest === null ? null : Math.max(0, clock() - oldest),
    stuck: queued.flatMap((run) => {
      const problem = whyItWaits(run, signs);
      return problem === null ? [] : [{ runId: run.id, problem }];
    }),
    jobs: jobQueue,
  };
}

function tallied<Name extends string>(items: [name: Name, number: number][]): [name: Name, number: number][] {
  const sums = new Map<Name, number>();
  for (const [name, number] of items) sums.set(name, (sums.get(name) ?? 0) + number);
  return [...sums].filter(([, sum]) => sum > 0).toSorted(([, left], [, right]) => right - left);
}

function toJson({ workers, now, queued, running, oldestWaitingMs, stuck, ...found }: Found) {
  const { jobs } = found;
  return {
    queued,
    running,
    queued_by_kind: Object.fromEntries(found.queuedKinds),
    queued_by_labels: Object.fromEntries(found.queuedLabels),
    ...(jobs !== null && {
      jobs:
        typeof jobs === 'string'
          ? { problem: jobs }
          : {
              stream_depth: jobs.depth,
              running: jobs.running,
              oldest_waiting_seconds: seconds(jobs.oldestWaitingMs),
            },
    }),
    oldest_waiting_seconds: seconds(oldestWaitingMs),
    waiting_for_machines: stuck.map(({ runId, problem }) => ({ run_id: runId, waits_for: problem })),
    workers: workers.map((worker) => ({
      owner: worker.owner,
      command: worker.command,
      version: worker.version,
      labels: worker.labels,
      tools: worker.tools,
      concurrency: worker.limits,
      runs: worker.runs,
      started_at: rfc3339(worker.startedAt),
      seen_at: rfc3339(worker.at),
      silent: isSilent(worker, now),
    })),
  };
}

function seconds(ms: number | null): number | null {
  return ms === null ? null : Math.floor(ms / SECOND);
}

function workerPage(frame: Omit<PageFrame, 'title'>, found: Found, isShared: boolean): Html {
  const { workers, queued, running, oldestWaitingMs, stuck } = found;
  const kinds = found.queuedKinds.map(kindWords).join(', ');
  return page(
    { ...frame, title: 'Workers', watches: true },
    html`<h1>Workers</h1>
<p>${queued} waiting${kinds === '' ? '' : ` (${kinds})`}${oldest(oldestWaitingMs)}; ${running} running.</p>
${found.queuedLabels.map(
  ([labels, runs]) =>
    html`<p class="quiet">${runs} of them need a machine with the labels ${plainLine(labels)}.</p>`,
)}
${jobLine(found.jobs)}
${stuck.map(
  ({ runId, problem }) =>
    html`<p class="advice" data-bad="true">${runLink(runId)} waits: ${plainLine(problem)}</p>`,
)}
${
  isShared
    ? html`<ul class="runs">${workers.map((worker) => workerRow(worker, found.now))}</ul>`
    : html`<p class="empty">This server works alone: STORE_URL is not set.</p>`
}`,
  );
}

function kindWords([kind, runs]: [kind: RunKind, runs: number]): string {
  const { name, plural } = kindOf({ kind });
  return `${runs} ${runs === 1 ? name : plural}`;
}

function oldest(ms: number | null): string {
  return ms === null ? '' : `, the oldest for ${formatDuration(ms)}`;
}

function jobLine(jobs: Found['jobs']): Html | string {
  if (jobs === null) return '';
  if (typeof jobs === 'string') return html`<p class="advice" data-bad="true">Jobs: ${plainLine(jobs)}</p>`;
  return html`<p>Jobs: ${jobs.depth} in jobs:stream${oldest(jobs.oldestWaitingMs)}; ${jobs.running} running.</p>`;
}

function workerRow(worker: WorkerSign, now: number): Html {
  const [colour, word] = isSilent(worker, now)
    ? ['failed', 'silent']
    : worker.runs.length > 0
      ? ['running', 'working']
      : ['succeeded', 'idle'];
  const labels = worker.labels === null ? 'any labels' : `labels ${worker.labels.join(', ') || 'none'}`;
  return html`<li class="run-row">
<span class="state" data-state="${colour}">${word}</span>
<div class="run-what">
<strong><bdi>${plainLine(worker.owner)}</bdi></strong>
${worker.runs.map((id) => html`<span class="run-message">${runLink(id)}</span>`)}
</div>
<div class="run-where">
<span>${plainLine(worker.command)} ${plainLine(worker.version)}</span>
<span class="quiet">${plainLine(labels)}; ${plainLine(toolWords(worker))}</span>
</div>
<div class="run-when">
<span>${moment(worker.at, now)}</span>
</div>
</li>`;
}

function toolWords({ tools }: WorkerSign): string {
  if (tools === null) return 'any tools';
  return tools.length === 0 ? 'no tools' : tools.join(', ');
}
