/**
 * The routes of runs: list, page, log and plan as text, event stream, and the actions. They read the store, never a
 * worker.
 */

import { type Context, Hono } from 'hono';
import { whyItWaits } from '../../runs/deployments/takers.ts';
import type { Fleet } from '../../runs/fleet.ts';
import { kindOf } from '../../runs/kinds/kinds.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { DeployApi } from '../../triggers/deploy/deploy-api.ts';
import { HOUR } from '../../units.ts';
import type { RunPageEnv } from '../access/access.ts';
import { callerOf, createGuards, type PageOptions } from '../access/guards.ts';
import { planTexts } from '../deployments/plan-text.ts';
import { isToolRun, readRoots, readToolDetails } from '../deployments/tool-details.ts';
import { HISTORY_LENGTH } from '../deployments/tool-sections.ts';
import { addressAfterSignIn, refuse } from '../doors/refusals.ts';
import { createStreamSeats, type StreamSeats } from '../doors/stream-seats.ts';
import { jsonError } from '../frame/error-answer.ts';
import { createEventStreams, type EventStreams, lastEventId, MAX_STREAMS } from '../frame/event-streams.ts';
import { isBrowser, pageHeaders, prefersJson } from '../frame/page-headers.ts';
import { sendText, showLog, showPlainLog } from '../logs/log-routes.ts';
import { readHistory } from '../logs/run-log.ts';
import { readApproval } from './approval-view.ts';
import { type ApprovalRights, decidersFor, decision, type RunAction } from './decisions.ts';
import { firstFailedLine } from './error-line.ts';
import { listPath, readRunFilter, storeFilter } from './run-filter.ts';
import { runDetailsJson, runJson } from './run-json.ts';
import { runListPage } from './run-list-page.ts';
import { createPageWords } from './run-messages.ts';
import { runPage } from './run-page.ts';
import { streamRun } from './run-stream.ts';
import { runPath } from './run-words.ts';

/** The part of the store that the pages of runs need. */
export type RunReader = Pick<
  RunStore,
  | 'run'
  | 'runs'
  | 'steps'
  | 'events'
  | 'latestEvent'
  | 'eventsOf'
  | 'logTotals'
  | 'logChunks'
  | 'reports'
  | 'watch'
>;

export interface RunRoutesOptions extends PageOptions {
  store: RunReader;
  /** The machines that share the store; null or left out if no other machine does. */
  fleet?: Pick<Fleet, 'workers'> | null;
  retry: RunAction;
  cancel: RunAction;
  /** Decides about runs that wait for an approval. */
  decide: Pick<DeployApi, 'approve' | 'reject'>;
  approvals: ApprovalRights;
  /** How many event streams may be open, and as many texts; others are answered 503. */
  maxStreams?: number;
  /** Called when an event stream broke off because the store failed. */
  onStreamError?: (error: unknown) => void;
}

export interface RunRoutes {
  routes: Hono<RunPageEnv>;
  /** Ends the open event streams, so that the server can close. */
  closeStreams(): void;
}

type RunContext = Context<RunPageEnv>;

const RUNS_PER_PAGE = 50;

export function createRunRoutes(options: RunRoutesOptions): RunRoutes {
  const { access, retry, cancel, maxStreams, onStreamError } = options;
  const { signedIn, mayRead, mayOperate, mayAct } = createGuards(options);
  const streams = createEventStreams({ access, maxStreams, maxStreamMs: HOUR, onError: onStreamError });
  const seats = createStreamSeats(access, maxStreams ?? MAX_STREAMS);
  const routes = new Hono<RunPageEnv>();
  routes.use('/runs/*', pageHeaders());
  routes.get('/runs', signedIn, (c) => listRuns(c, options));
  routes.get('/runs/:id', mayRead, (c) => showRun(c, options));
  routes.get('/runs/:id/log', mayRead, (c) => showLog(c, { ...options, seats }));
  routes.get('/runs/:id/log.txt', mayRead, (c) => showPlainLog(c, { ...options, seats }));
  routes.get('/runs/:id/plan', mayRead, (c) => showPlan(c, options, seats));
  routes.get('/runs/:id/events', mayRead, (c) => streamEvents(c, options, streams));
  routes.post('/runs/:id/retry', mayOperate, (c) => act(c, retry, options));
  routes.post('/runs/:id/cancel', mayOperate, (c) => act(c, cancel, options));
  routes.post('/runs/:id/approve', mayAct, (c) => act(c, decision(c, 'approve', options), options));
  routes.post('/runs/:id/reject', mayAct, (c) => act(c, decision(c, 'reject', options), options));
  return { routes, closeStreams: streams.close };
}

async function listRuns(c: RunContext, { store, assets, clock, commitUrl, runUrl }: RunRoutesOptions) {
  const { before } = c.req.query();
  const filter = readRunFilter(c.req.query());
  if (typeof filter === 'string') return refuse(c, assets, 400, filter);
  if (before !== undefined && (await store.run(before)) === null) {
    return refuse(c, assets, 400, 'Before must be the id of a run that is kept.');
  }
  const found = await store.runs({
    limit: RUNS_PER_PAGE + 1,
    ...storeFilter(filter),
    ...(before !== undefined && { before }),
  });
  const runs = found.slice(0, RUNS_PER_PAGE);
  const older = found.length > RUNS_PER_PAGE ? listPath(filter, runs.at(-1)?.id) : null;
  c.header('Vary', 'Accept');
  if (prefersJson(c)) {
    return c.json({ runs: runs.map((run) => runJson(run, runUrl(run.id))), next: older });
  }
  const frame = { identity: c.var.identity, assets };
  const paged = before !== undefined;
  return c.html(runListPage({ frame, runs, filter, paged, older, now: clock(), commitUrl }));
}

async function showRun(
  c: RunContext,
  { store, fleet, assets, clock, commitUrl, runUrl, approvals }: RunRoutesOptions,
) {
  const { identity } = c.var;
  const { id } = c.var.run;
  const { format, log, key } = c.req.query();
  c.header('Vary', 'Accept');
  // A link on the page cannot send a header that says what it prefers.
  const json = prefersJson(c) || format === 'json';
  // The log is read first: later events are then in the state below, or come by the event stream.
  const history = json || log === 'none' ? null : await readHistory(store, id);
  const run = (await store.run(id)) ?? c.var.run;
  const steps = await store.steps(id);
  const explanation = (await store.latestEvent(id, 'run.explained'))?.explanation ?? null;
  const reports = await Promise.all(kindOf(run).reporters.map((reporter) => store.reports(reporter, id)));
  const undelivered = reports.flat().filter(({ problem }) => problem !== null);
  const tool = await readToolDetails(store, run, steps);
  const approval = await readApproval(store, run);
  const waitsFor = fleet && run.state === 'queued' ? whyItWaits(run, await fleet.workers()) : null;
  const found = { run, steps, explanation, tool, approval, undelivered, waitsFor };
  if (json) return c.json(runDetailsJson(found, runUrl(id)));
  const linkQuery = identity === null && key !== undefined ? `?key=${encodeURIComponent(key)}` : '';
  // A signed link opens one run, and shows no other.
  const sameTarget =
    tool && identity
      ? await store.runs({ concurrencyGroup: run.concurrencyGroup, limit: HISTORY_LENGTH })
      : [];
  const failedLine = await firstFailedLine(store, id, steps);
  const frame = { identity, assets, signInTo: addressAfterSignIn(c) };
  const shared = { frame, linkQuery, now: clock(), commitUrl, ...decidersFor(run, identity, approvals) };
  return c.html(runPage({ ...found, ...shared, sameTarget, history, failedLine }));
}

/** Sends all plans of the run, or the plan of one step. */
async function showPlan(c: RunContext, { store, assets }: RunRoutesOptions, seats: StreamSeats) {
  const { run } = c.var;
  const step = c.req.query('step') ?? null;
  const roots = isToolRun(run) ? await readRoots(store, run, await store.steps(run.id)) : [];
  const asked = roots.filter((root) => root.plan !== null && (step === null || root.step === step));
  if (asked.length === 0) return refuse(c, assets, 404, 'The run has no such plan.');
  return sendText(c, seats, () => planTexts(asked));
}

function streamEvents(c: RunContext, { store }: RunRoutesOptions, streams: EventStreams) {
  const after = lastEventId(c);
  if (after === null) return jsonError(c, 400, 'The last event id must be a number.');
  const words = createPageWords(c.var.run.kind, c.req.query('log') === 'counts');
  return streamRun(c, { streams, store, after, words });
}

/** Does the action in the name of the caller. An action that is not possible now is answered with 409. */
async function act(c: RunContext, action: RunAction, { assets, runUrl }: RunRoutesOptions) {
  const result = await action(c.var.run.id, callerOf(c).name);
  if (result.status === 'refused') return refuse(c, assets, 409, result.reason);
  return answerAccepted(c, result.run.id, runUrl);
}

/** Leads browsers to the page of the run; programs get JSON. */
export function answerAccepted(c: RunContext, runId: string, runUrl: PageOptions['runUrl']) {
  if (isBrowser(c)) return c.redirect(runPath(runId), 303);
  return c.json({ status: 'accepted', run_id: runId, url: runUrl(runId) });
}
