/** The routes of runs: list, page, raw log, event stream, retry and cancel. They read the store, never a worker. */

import { type Context, Hono } from 'hono';
import { RUN_STATES, type Run, type RunState } from '../runs/run.ts';
import { REPORTERS_OF, type RunStore } from '../runs/run-store.ts';
import type { ActionResult } from '../triggers/run-actions.ts';
import type { Access } from './access.ts';
import type { Assets } from './assets.ts';
import { jsonError } from './error-answer.ts';
import { createGuards, type RunPageEnv } from './guards.ts';
import { isBrowser, pageHeaders, prefersJson } from './page-headers.ts';
import { refuse } from './refusals.ts';
import { runDetailsJson, runJson } from './run-json.ts';
import { listPath, runListPage } from './run-list-page.ts';
import { createLogTexts, type LogTexts, readHistory } from './run-log.ts';
import { runPage } from './run-page.ts';
import { createRunStreams } from './run-stream.ts';

/** What the pages need of the store. */
export type RunReader = Pick<
  RunStore,
  'run' | 'runs' | 'steps' | 'events' | 'latestEvent' | 'reports' | 'watch'
>;

/** `actor` is the name of the API token behind the request. */
export type RunAction = (runId: string, actor: string) => Promise<ActionResult>;

export interface RunRoutesOptions {
  store: RunReader;
  access: Access;
  assets: Assets;
  retry: RunAction;
  cancel: RunAction;
  /** Milliseconds since the epoch. */
  clock: () => number;
  /** The commit on the repository's own site, or null when that is not known. */
  commitUrl: (sha: string) => string | null;
  /** The address of a run's page for programs, without a key. */
  runUrl: (runId: string) => string;
  /** Where browsers reach the product, or null when that is only known from their requests. */
  publicUrl: string | null;
  /** Open event streams at most, and as many logs being read; beyond, 503. */
  maxStreams?: number;
  /** Told when an event stream broke off because the store failed. */
  onStreamError?: (error: unknown) => void;
}

export interface RunRoutes {
  routes: Hono<RunPageEnv>;
  /** Ends the open event streams, so that the server can close. */
  closeStreams(): void;
}

type RunContext = Context<RunPageEnv>;

const RUNS_PER_PAGE = 50;
const DEFAULT_MAX_STREAMS = 200;

export function createRunRoutes(options: RunRoutesOptions): RunRoutes {
  const { store, retry, cancel, maxStreams = DEFAULT_MAX_STREAMS, onStreamError = () => {} } = options;
  const { signedIn, mayRead, mayOperate } = createGuards(options);
  const streams = createRunStreams({ store, maxStreams, onError: onStreamError });
  const logs = createLogTexts(store, maxStreams);
  const routes = new Hono<RunPageEnv>();
  routes.use('/runs/*', pageHeaders());
  routes.get('/', (c) => c.redirect('/runs'));
  routes.get('/runs', signedIn, (c) => listRuns(c, options));
  routes.get('/runs/:id', mayRead, (c) => showRun(c, options));
  routes.get('/runs/:id/log', mayRead, (c) => showLog(c, options, logs));
  routes.get('/runs/:id/events', mayRead, (c) => {
    const after = c.req.header('Last-Event-ID') ?? c.req.query('after') ?? '0';
    if (!/^\d{1,15}$/.test(after)) return jsonError(c, 400, 'The last event id must be a number.');
    const response = streams.open(c, c.var.run.id, Number(after));
    return response ?? jsonError(c, 503, 'Too many open streams.');
  });
  routes.post('/runs/:id/retry', mayOperate, (c) => act(c, retry, options));
  routes.post('/runs/:id/cancel', mayOperate, (c) => act(c, cancel, options));
  return { routes, closeStreams: streams.close };
}

async function listRuns(c: RunContext, { store, assets, clock, commitUrl, runUrl }: RunRoutesOptions) {
  const { identity } = c.var;
  const asked = c.req.query('state') ?? '';
  const state = RUN_STATES.find((known) => known === asked) ?? null;
  if (asked !== '' && state === null) {
    const error = `State must be one of ${RUN_STATES.join(', ')}.`;
    return refuse(c, { assets, identity }, { status: 400, error });
  }
  const before = c.req.query('before');
  const found = await store.runs({
    limit: RUNS_PER_PAGE + 1,
    ...(state !== null && { state }),
    ...(before !== undefined && { before }),
  });
  const runs = found.slice(0, RUNS_PER_PAGE);
  const older = olderPage(found, state);
  c.header('Vary', 'Accept');
  if (prefersJson(c)) {
    return c.json({ runs: runs.map((run) => runJson(run, runUrl(run.id))), next: older });
  }
  const paged = before !== undefined;
  return c.html(
    runListPage({ frame: { identity, assets }, runs, state, paged, older, now: clock(), commitUrl }),
  );
}

function olderPage(found: Run[], state: RunState | null): string | null {
  const last = found[RUNS_PER_PAGE - 1];
  return last && found.length > RUNS_PER_PAGE ? listPath(state, last.id) : null;
}

async function showRun(c: RunContext, { store, assets, clock, commitUrl, runUrl }: RunRoutesOptions) {
  const { identity } = c.var;
  const { id, chosen } = c.var.run;
  c.header('Vary', 'Accept');
  const json = prefersJson(c);
  // The log first: what happens meanwhile is then in the state below, or comes by the event stream.
  const history = json || c.req.query('log') === 'none' ? null : await readHistory(store, id, chosen);
  const run = (await store.run(id)) ?? c.var.run;
  const steps = await store.steps(id);
  const explanation = (await store.latestEvent(id, 'run.explained'))?.explanation ?? null;
  const reports = await Promise.all(REPORTERS_OF[run.kind].map((reporter) => store.reports(reporter, id)));
  const undelivered = reports.flat().filter(({ problem }) => problem !== null);
  if (json) return c.json(runDetailsJson(run, steps, { why: explanation, undelivered }, runUrl(id)));
  const key = c.req.query('key');
  const linkQuery = identity === null && key !== undefined ? `?key=${encodeURIComponent(key)}` : '';
  const frame = { identity, assets };
  const now = clock();
  return c.html(runPage({ frame, run, steps, explanation, undelivered, history, linkQuery, now, commitUrl }));
}

async function showLog(c: RunContext, { store, assets }: RunRoutesOptions, logs: LogTexts) {
  const { run, identity } = c.var;
  const step = c.req.query('step') ?? null;
  if (step !== null && !(await store.steps(run.id)).some(({ id }) => id === step)) {
    return refuse(c, { assets, identity }, { status: 404, error: 'The run has no such step.' });
  }
  const headers = { 'Content-Type': 'text/plain; charset=utf-8' };
  // Nobody would read the log of a HEAD request to its end.
  if (c.req.method === 'HEAD') return c.body(null, 200, headers);
  const text = logs.open(run.id, step);
  return text ? c.body(text, 200, headers) : jsonError(c, 503, 'Too many open logs.');
}

/** Forms are led back to a run's page; programs get JSON. */
async function act(c: RunContext, action: RunAction, { assets, runUrl }: RunRoutesOptions) {
  const { run, identity } = c.var;
  if (!identity) throw new Error('An action came without its guard.');
  const result = await action(run.id, identity.name);
  if (result.status === 'refused') {
    return refuse(c, { assets, identity }, { status: 409, error: result.reason });
  }
  const { id } = result.run;
  if (isBrowser(c)) return c.redirect(`/runs/${encodeURIComponent(id)}`, 303);
  return c.json({ status: 'accepted', run_id: id, url: runUrl(id) });
}
