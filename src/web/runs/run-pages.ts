/** The routes of runs: list, page, raw log and plan, event stream, and what is done to a run. They read the store, never a worker. */

import { type Context, Hono } from 'hono';
import { whyItWaits } from '../../runs/deployments/takers.ts';
import type { Fleet } from '../../runs/fleet.ts';
import { kindOf, RUN_KINDS } from '../../runs/kinds/kinds.ts';
import { RUN_STATES, type Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { DeployApi } from '../../triggers/deploy/deploy-api.ts';
import type { ActionResult } from '../../triggers/run-actions.ts';
import type { Access } from '../access/access.ts';
import { createGuards, type RunPageEnv } from '../access/guards.ts';
import { planTexts } from '../deployments/plan-text.ts';
import { HISTORY_LENGTH } from '../deployments/target-history.ts';
import { isToolRun, readRoots, readToolDetails } from '../deployments/tool-details.ts';
import { addressAfterSignIn, refuse } from '../doors/refusals.ts';
import { createStreamSeats } from '../doors/stream-seats.ts';
import type { Assets } from '../frame/assets.ts';
import { jsonError } from '../frame/error-answer.ts';
import { isBrowser, pageHeaders, prefersJson } from '../frame/page-headers.ts';
import { createTextStreams, type TextStreams } from '../frame/text-streams.ts';
import { runDetailsJson, runJson } from './run-json.ts';
import { listPath, type RunListFilter, runListPage } from './run-list-page.ts';
import { readHistory, readLogText } from './run-log.ts';
import { createPageWords } from './run-messages.ts';
import { runPage } from './run-page.ts';
import { createRunStreams } from './run-stream.ts';

/** What the pages need of the store. */
export type RunReader = Pick<
  RunStore,
  'run' | 'runs' | 'steps' | 'events' | 'latestEvent' | 'eventsOf' | 'reports' | 'watch'
>;

/** `actor` is the name of the API token behind the request. */
type RunAction = (runId: string, actor: string) => Promise<ActionResult>;

export interface RunRoutesOptions {
  store: RunReader;
  access: Access;
  assets: Assets;
  /** The machines that share the store; null or left out: none do. */
  fleet?: Pick<Fleet, 'workers'> | null;
  retry: RunAction;
  cancel: RunAction;
  /** Decides about deployments and plans. */
  decide: Pick<DeployApi, 'approve' | 'reject'>;
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
  const {
    store,
    retry,
    cancel,
    decide,
    maxStreams = DEFAULT_MAX_STREAMS,
    onStreamError = () => {},
  } = options;
  const { signedIn, mayRead, mayOperate, mayApprove } = createGuards(options);
  const { access } = options;
  const streams = createRunStreams({
    store,
    seats: createStreamSeats(access, maxStreams),
    onError: onStreamError,
  });
  const texts = createTextStreams(createStreamSeats(access, maxStreams));
  const routes = new Hono<RunPageEnv>();
  routes.use('/runs/*', pageHeaders());
  routes.get('/', (c) => c.redirect('/runs'));
  routes.get('/runs', signedIn, (c) => listRuns(c, options));
  routes.get('/runs/:id', mayRead, (c) => showRun(c, options));
  routes.get('/runs/:id/log', mayRead, (c) => showLog(c, options, texts));
  routes.get('/runs/:id/plan', mayRead, (c) => showPlan(c, options, texts));
  routes.get('/runs/:id/events', mayRead, (c) => {
    const after = c.req.header('Last-Event-ID') ?? c.req.query('after') ?? '0';
    if (!/^\d{1,15}$/.test(after)) return jsonError(c, 400, 'The last event id must be a number.');
    const response = streams.open(c, Number(after), createPageWords(c.var.run.kind));
    return response ?? jsonError(c, 503, 'Too many open streams.');
  });
  routes.post('/runs/:id/retry', mayOperate, (c) => act(c, retry, options));
  routes.post('/runs/:id/cancel', mayOperate, (c) => act(c, cancel, options));
  routes.post('/runs/:id/approve', mayApprove, (c) => judge(c, decide.approve, options));
  routes.post('/runs/:id/reject', mayApprove, (c) => judge(c, decide.reject, options));
  return { routes, closeStreams: streams.close };
}

async function listRuns(c: RunContext, { store, assets, clock, commitUrl, runUrl }: RunRoutesOptions) {
  const { identity } = c.var;
  const filter = readFilter(c);
  if (typeof filter === 'string') return refuse(c, { assets, identity }, { status: 400, error: filter });
  const { kind, state } = filter;
  const before = c.req.query('before');
  if (before !== undefined && (await store.run(before)) === null) {
    return refuse(
      c,
      { assets, identity },
      { status: 400, error: 'Before must be the id of a run that is kept.' },
    );
  }
  const found = await store.runs({
    limit: RUNS_PER_PAGE + 1,
    ...(kind !== null && { kind }),
    ...(state !== null && { state }),
    ...(before !== undefined && { before }),
  });
  const runs = found.slice(0, RUNS_PER_PAGE);
  const older = olderPage(found, filter);
  c.header('Vary', 'Accept');
  if (prefersJson(c)) {
    return c.json({ runs: runs.map((run) => runJson(run, runUrl(run.id))), next: older });
  }
  const paged = before !== undefined;
  return c.html(
    runListPage({ frame: { identity, assets }, runs, filter, paged, older, now: clock(), commitUrl }),
  );
}

/** What the query narrows the list to, or the problem with it. */
function readFilter(c: RunContext): RunListFilter | string {
  const { kind: askedKind = '', state: askedState = '' } = c.req.query();
  const kind = RUN_KINDS.find((known) => known === askedKind) ?? null;
  const state = RUN_STATES.find((known) => known === askedState) ?? null;
  if (askedKind !== '' && kind === null) return `Kind must be one of ${RUN_KINDS.join(', ')}.`;
  if (askedState !== '' && state === null) return `State must be one of ${RUN_STATES.join(', ')}.`;
  return { kind, state };
}

function olderPage(found: Run[], filter: RunListFilter): string | null {
  const last = found[RUNS_PER_PAGE - 1];
  return last && found.length > RUNS_PER_PAGE ? listPath(filter, last.id) : null;
}

async function showRun(c: RunContext, { store, fleet, assets, clock, commitUrl, runUrl }: RunRoutesOptions) {
  const { identity } = c.var;
  const { id, chosen } = c.var.run;
  c.header('Vary', 'Accept');
  // The link on the page cannot say what it prefers.
  const json = prefersJson(c) || c.req.query('format') === 'json';
  // The log first: what happens meanwhile is then in the state below, or comes by the event stream.
  const history = json || c.req.query('log') === 'none' ? null : await readHistory(store, id, chosen);
  const run = (await store.run(id)) ?? c.var.run;
  const steps = await store.steps(id);
  const explanation = (await store.latestEvent(id, 'run.explained'))?.explanation ?? null;
  const reports = await Promise.all(kindOf(run).reporters.map((reporter) => store.reports(reporter, id)));
  const undelivered = reports.flat().filter(({ problem }) => problem !== null);
  const tool = await readToolDetails(store, run, steps);
  const waitsFor = fleet && run.state === 'queued' ? whyItWaits(run, await fleet.workers()) : null;
  if (json) {
    const details = { why: explanation, undelivered, tool, waitsFor };
    return c.json(runDetailsJson(run, steps, details, runUrl(id)));
  }
  const key = c.req.query('key');
  const linkQuery = identity === null && key !== undefined ? `?key=${encodeURIComponent(key)}` : '';
  // A signed link opens one run, and tells of no other.
  const sameTarget =
    tool && identity
      ? await store.runs({ concurrencyGroup: run.concurrencyGroup, limit: HISTORY_LENGTH })
      : [];
  const frame = { identity, assets, signInTo: addressAfterSignIn(c) };
  const found = { run, steps, explanation, details: tool, sameTarget, undelivered, history, waitsFor };
  return c.html(runPage({ ...found, frame, linkQuery, now: clock(), commitUrl }));
}

async function showLog(c: RunContext, { store, assets }: RunRoutesOptions, texts: TextStreams) {
  const { run, identity } = c.var;
  const step = c.req.query('step') ?? null;
  if (step !== null && !(await store.steps(run.id)).some(({ id }) => id === step)) {
    return refuse(c, { assets, identity }, { status: 404, error: 'The run has no such step.' });
  }
  return sendText(c, texts, () => readLogText(store, run.id, step));
}

/** All plans of the run, or that of one step. */
async function showPlan(c: RunContext, { store, assets }: RunRoutesOptions, texts: TextStreams) {
  const { run, identity } = c.var;
  const step = c.req.query('step') ?? null;
  const roots = isToolRun(run) ? await readRoots(store, run, await store.steps(run.id)) : [];
  const asked = roots.filter((root) => root.plan !== null && (step === null || root.step === step));
  if (asked.length === 0) {
    return refuse(c, { assets, identity }, { status: 404, error: 'The run has no such plan.' });
  }
  return sendText(c, texts, () => planTexts(asked));
}

function sendText(c: RunContext, texts: TextStreams, read: () => AsyncGenerator<string, void>) {
  const headers = { 'Content-Type': 'text/plain; charset=utf-8' };
  // Nobody would read the text of a HEAD request to its end.
  if (c.req.method === 'HEAD') return c.body(null, 200, headers);
  const text = texts.open(c, read());
  return text ? c.body(text, 200, headers) : jsonError(c, 503, 'Too many open texts.');
}

/** Approves or rejects. */
function judge(c: RunContext, decide: DeployApi['approve'], options: RunRoutesOptions) {
  async function action(runId: string, actor: string): Promise<ActionResult> {
    if (!isToolRun(c.var.run)) return { status: 'refused', reason: 'A run of this kind needs no approval.' };
    const result = await decide(runId, actor);
    switch (result.status) {
      case 'done':
        return { status: 'accepted', run: result.run };
      case 'refused':
        return result;
      case 'ended':
        return { status: 'refused', reason: 'The run has already ended.' };
      case 'unknown':
        return { status: 'refused', reason: 'There is no such run.' };
    }
  }
  return act(c, action, options);
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
