/** The routes of deployments: start, list, status, log stream, approve, reject, cancel. For programs; pages are runs'. */

import { type Context, Hono, type MiddlewareHandler } from 'hono';
import { cors } from 'hono/cors';
import { DAY } from '../../units.ts';
import { RequestError } from '../../errors.ts';
import type { DeployRun, Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { DeployActionResult, DeployApi } from '../../triggers/deploy/deploy-api.ts';
import { type Access, hasRole } from '../access/access.ts';
import { createGuards, type RunPageEnv } from '../access/guards.ts';
import { BODY_BYTES, limitBody } from '../doors/body-limit.ts';
import { refuse } from '../doors/refusals.ts';
import { createStreamSeats } from '../doors/stream-seats.ts';
import type { Assets } from '../frame/assets.ts';
import { jsonError } from '../frame/error-answer.ts';
import { isBrowser, pageHeaders } from '../frame/page-headers.ts';
import { createRunStreams, type RunStreams } from '../runs/run-stream.ts';
import { createDeployWords } from './deploy-messages.ts';
import { createDeployStatuses, type DeployStatuses, deploymentJson } from './deploy-status.ts';

export interface DeployRoutesOptions {
  store: Pick<RunStore, 'run' | 'runs' | 'events' | 'watch'>;
  api: DeployApi;
  access: Access;
  assets: Assets;
  /** Origins whose pages may call, or `*` among them for any. */
  allowedOrigins: readonly string[];
  /** The address of a run's page for programs, without a key. */
  runUrl: (runId: string) => string;
  publicUrl: string | null;
  /** Open log streams at most; beyond, 503. */
  maxStreams?: number;
  /** Told when a log stream broke off because the store failed. */
  onStreamError?: (error: unknown) => void;
}

export interface DeployRoutes {
  routes: Hono<RunPageEnv>;
  /** Ends the open log streams, so that the server can close. */
  closeStreams(): void;
}

type DeployContext = Context<RunPageEnv>;

const DEPLOYMENTS_PER_PAGE = 50;
const MAX_PER_PAGE = 200;
const DEFAULT_MAX_STREAMS = 200;
/** Longer than anybody is asked for approval: clients that cannot resume see the end. */
const MAX_STREAM_MS = 2 * DAY;

export function createDeployRoutes(options: DeployRoutesOptions): DeployRoutes {
  const { store, api, maxStreams = DEFAULT_MAX_STREAMS, onStreamError = () => {} } = options;
  const { signedIn, mayRead, operator, mayOperate, mayApprove } = createGuards({
    ...options,
    store: { run: async (id) => onlyDeploy(await store.run(id)) },
    notFound: answerUnknown,
  });
  const statuses = createDeployStatuses(options);
  const streams = createRunStreams({
    store,
    seats: createStreamSeats(options.access, maxStreams),
    maxStreamMs: MAX_STREAM_MS,
    onError: onStreamError,
  });
  const routes = new Hono<RunPageEnv>();
  // Also of /deploy itself, and before everything: a preflight has no credentials.
  routes.use('/deploy/*', pageHeaders(), crossOrigin(options.allowedOrigins));
  routes.get('/deploy', signedIn, (c) => listDeployments(c, options));
  routes.post('/deploy', operator, limitBody(BODY_BYTES), (c) => start(c, api));
  routes.get('/deploy/:id/status', mayRead, async (c) =>
    c.body(await statuses.of(deployOf(c)), 200, { 'Content-Type': 'application/json' }),
  );
  routes.get('/deploy/:id/logs', mayRead, (c) => streamLogs(c, streams, statuses));
  routes.post('/deploy/:id/approve', mayApprove, async (c) =>
    answer(c, options, await api.approve(c.var.run.id, callerOf(c).name), 'Deployment approved'),
  );
  routes.post('/deploy/:id/reject', mayApprove, async (c) =>
    answer(c, options, await api.reject(c.var.run.id, callerOf(c).name), 'Deployment rejected'),
  );
  routes.post('/deploy/:id/cancel', mayOperate, async (c) =>
    answer(c, options, await api.cancel(c.var.run.id, callerOf(c).name), 'Cancellation requested'),
  );
  for (const action of ['approve', 'reject', 'cancel']) {
    routes.all(`/deploy/:id/${action}`, (c) =>
      jsonError(c, 405, `${action} takes POST only`, { Allow: 'POST' }),
    );
  }
  return { routes, closeStreams: streams.close };
}

/** Any page may read answers to requests that carry a token; a session's cookie never comes from another site. */
function crossOrigin(origins: readonly string[]): MiddlewareHandler {
  const isAllowed = (origin: string) => origins.includes('*') || origins.includes(origin);
  const allow = cors({
    origin: (origin) => (origins.includes('*') ? '*' : origin),
    allowMethods: ['GET', 'POST', 'OPTIONS'],
    allowHeaders: ['Authorization', 'Content-Type', 'Last-Event-ID'],
    exposeHeaders: ['Retry-After'],
    maxAge: 600,
  });
  return async (c, next) => {
    // The library's own refusal still tells methods and headers.
    if (isAllowed(c.req.header('Origin') ?? '')) return allow(c, next);
    c.header('Vary', 'Origin', { append: true });
    if (c.req.method === 'OPTIONS') return c.body(null, 204);
    await next();
  };
}

async function start(c: DeployContext, api: DeployApi): Promise<Response> {
  const identity = callerOf(c);
  const run = await api.start(await readJson(c), {
    name: identity.name,
    mayApprove: hasRole(identity, 'admin'),
  });
  return c.json({ deployment_id: run.id, status: 'running', message: 'Deployment started' }, 202);
}

/** Whatever its type says: the origin of a request by cookie was checked, and clients of old send none. */
async function readJson(c: DeployContext): Promise<unknown> {
  const text = await c.req.text();
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new RequestError(400, 'The body is not valid JSON', { cause });
  }
}

async function streamLogs(
  c: DeployContext,
  streams: RunStreams,
  statuses: DeployStatuses,
): Promise<Response> {
  const after = c.req.header('Last-Event-ID') ?? c.req.query('after') ?? '0';
  if (!/^\d{1,15}$/.test(after)) return jsonError(c, 400, 'The last event id must be a number.');
  const run = deployOf(c);
  const words = createDeployWords(run.id, await statuses.progressAt(run, Number(after)));
  return streams.open(c, Number(after), words) ?? jsonError(c, 503, 'Too many open streams.');
}

/** Newest first: those of one target with `git_url` and `path`, older ones with `before`. */
async function listDeployments(c: DeployContext, { store, api, runUrl }: DeployRoutesOptions) {
  const { git_url: gitUrl, path = '.', before, limit = String(DEPLOYMENTS_PER_PAGE) } = c.req.query();
  const size = /^\d{1,3}$/.test(limit) ? Number(limit) : 0;
  if (size < 1 || size > MAX_PER_PAGE) return jsonError(c, 400, `limit: must be from 1 to ${MAX_PER_PAGE}`);
  const group = gitUrl === undefined ? undefined : api.groupOf(gitUrl, path);
  if (group === null) return jsonError(c, 400, 'git_url or path: nothing is deployed there');
  if (before !== undefined && (await store.run(before)) === null) {
    return jsonError(c, 400, 'before: must be the id of a deployment that is kept');
  }
  const found = await store.runs({
    kind: 'deploy',
    limit: size + 1,
    ...(group !== undefined && { concurrencyGroup: group }),
    ...(before !== undefined && { before }),
  });
  const runs = found.slice(0, size).flatMap((run) => onlyDeploy(run) ?? []);
  const last = runs.at(-1);
  const next = new URLSearchParams({ ...c.req.query(), before: last?.id ?? '' });
  return c.json({
    deployments: runs.map((run) => deploymentJson(run, runUrl(run.id))),
    next: found.length > size ? `/deploy?${next}` : null,
  });
}

/** Forms are led back to the run's page; programs get JSON. */
function answer(
  c: DeployContext,
  { assets }: DeployRoutesOptions,
  result: DeployActionResult,
  message: string,
): Response | Promise<Response> {
  const { identity, run } = c.var;
  switch (result.status) {
    case 'done':
      return isBrowser(c) ? c.redirect(`/runs/${encodeURIComponent(run.id)}`, 303) : c.json({ message });
    case 'refused':
      return refuse(c, { assets, identity }, { status: 409, error: result.reason });
    case 'ended': {
      const error = 'Deployment already completed or cancelled';
      return isBrowser(c) ? refuse(c, { assets, identity }, { status: 409, error }) : c.json({ error }, 400);
    }
    case 'unknown':
      return answerUnknown(c);
  }
}

/** The words that clients of old know, and no more. */
function answerUnknown(c: DeployContext): Response {
  return c.json({ error: 'Deployment not found' }, 404);
}

function onlyDeploy(run: Run | null): DeployRun | null {
  return run?.kind === 'deploy' ? run : null;
}

function deployOf(c: DeployContext): DeployRun {
  const run = onlyDeploy(c.var.run);
  if (!run) throw new Error('A deployment came without its guard.');
  return run;
}

function callerOf(c: DeployContext) {
  const { identity } = c.var;
  if (!identity) throw new Error('An action came without its guard.');
  return identity;
}
