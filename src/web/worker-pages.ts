/** GET /workers: which machines share the store, what each works on, and how long the queue is. */

import { Hono } from 'hono';
import { html } from 'hono/html';
import type { Fleet, WorkerSign } from '../runs/fleet.ts';
import type { RunStore } from '../runs/run-store.ts';
import { plainLine } from './ansi.ts';
import { formatDuration, rfc3339 } from './format.ts';
import { createGuards, type GuardsOptions, type RunPageEnv } from './guards.ts';
import { type Html, type PageFrame, page } from './layout.ts';
import { pageHeaders, prefersJson } from './page-headers.ts';
import { moment } from './run-words.ts';

export interface WorkerRoutesOptions extends GuardsOptions {
  store: Pick<RunStore, 'run' | 'tally'>;
  /** Null: this server has its store for itself. */
  fleet: Fleet | null;
  clock: () => number;
}

/** Signs of life come every five seconds. */
const SILENT_MS = 20_000;

interface Found {
  workers: WorkerSign[];
  /** By the clock of the store, as the signs. */
  now: number;
  queued: number;
  running: number;
  oldestWaitingMs: number | null;
}

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

async function look({ store, fleet, clock }: WorkerRoutesOptions): Promise<Found> {
  const [{ open }, signs, oldest] = await Promise.all([
    store.tally(),
    fleet?.workers() ?? { workers: [], now: clock() },
    fleet?.oldestWaiting() ?? null,
  ]);
  const count = (state: string) => open.reduce((sum, one) => sum + (one.state === state ? one.runs : 0), 0);
  return {
    ...signs,
    queued: count('queued'),
    running: count('running'),
    oldestWaitingMs: oldest === null ? null : Math.max(0, clock() - oldest),
  };
}

function isSilent({ at }: WorkerSign, now: number): boolean {
  return now - at > SILENT_MS;
}

function toJson({ workers, now, queued, running, oldestWaitingMs }: Found) {
  return {
    queued,
    running,
    oldest_waiting_seconds: oldestWaitingMs === null ? null : Math.floor(oldestWaitingMs / 1_000),
    workers: workers.map((worker) => ({
      owner: worker.owner,
      command: worker.command,
      version: worker.version,
      labels: worker.labels,
      concurrency: worker.limits,
      runs: worker.runs,
      started_at: rfc3339(worker.startedAt),
      seen_at: rfc3339(worker.at),
      silent: isSilent(worker, now),
    })),
  };
}

function workerPage(frame: Omit<PageFrame, 'title'>, found: Found, isShared: boolean): Html {
  const { workers, queued, running, oldestWaitingMs } = found;
  const waiting = oldestWaitingMs === null ? '' : `, the oldest for ${formatDuration(oldestWaitingMs)}`;
  return page(
    { ...frame, title: 'Workers' },
    html`<h1>Workers</h1>
<p>${queued} waiting${waiting}; ${running} running.</p>
${
  isShared
    ? html`<ul class="runs">${workers.map((worker) => workerRow(worker, found.now))}</ul>`
    : html`<p class="empty">This server works alone: STORE_URL is not set.</p>`
}`,
  );
}

function workerRow(worker: WorkerSign, now: number): Html {
  const silent = isSilent(worker, now);
  const labels = worker.labels === null ? 'any labels' : `labels ${worker.labels.join(', ') || 'none'}`;
  return html`<li class="run-row">
<span class="state" data-state="${silent ? 'failed' : worker.runs.length > 0 ? 'running' : 'succeeded'}">${
    silent ? 'silent' : worker.runs.length > 0 ? 'working' : 'idle'
  }</span>
<div class="run-what">
<strong><bdi>${plainLine(worker.owner)}</bdi></strong>
${worker.runs.map(
  (id) =>
    html`<span class="run-message"><a href="/runs/${encodeURIComponent(id)}">${plainLine(id)}</a></span>`,
)}
</div>
<div class="run-where">
<span>${plainLine(worker.command)} ${plainLine(worker.version)}</span>
<span class="quiet">${plainLine(labels)}</span>
</div>
<div class="run-when">
<span>${moment(worker.at, now)}</span>
</div>
</li>`;
}
