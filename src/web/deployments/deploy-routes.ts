/**
 * The API of deployments: start, list, status, log stream, approve, reject, cancel. Their pages are those of runs.
 */

import { type Context, Hono, type MiddlewareHandler } from 'hono';
import { cors } from 'hono/cors';
import type { DeployRun, Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { DeployActionResult, DeployApi } from '../../triggers/deploy/deploy-api.ts';
import { DAY } from '../../units.ts';
import { hasRole, type RunPageEnv } from '../access/access.ts';
import { callerOf, createGuards, type PageOptions } from '../access/guards.ts';
import { refuse } from '../doors/refusals.ts';
import { jsonError } from '../frame/error-answer.ts';
import { createEventStreams, type EventStreams, lastEventId } from '../frame/event-streams.ts';
import { isBrowser, pageHeaders } from '../frame/page-headers.ts';
import { limitedBody, readJson } from '../frame/read-body.ts';
import type { RunRoutes } from '../runs/run-pages.ts';
import { streamRun } from '../runs/run-stream.ts';
import { runPath } from '../runs/run-words.ts';
import { createDeployWords } from './deploy-messages.ts';
import { createDeployStatuses, type DeployStatuses, deploymentJson } from './deploy-status.ts';

export interface DeployRoutesOptions extends Omit<PageOptions, 'clock' | 'commitUrl'> {
  store: Pick<RunStore, 'run' | 'runs' | 'events' | 'watch'>;
  api: DeployApi;
  /** Origins whose pages may call, or `*` among them for any. */
  allowedOrigins: readonly string[];
  /** How many log streams may be open; others are answered 503. */
  maxStreams?: number;
  /** Called when a log stream broke off because the store failed. */
  onStreamError?: (error: unknown) => void;
}

type DeployContext = Context<RunPageEnv>;

const DEPLOYMENTS_PER_PAGE = 50;
const MAX_PER_PAGE = 200;
/** A deployment waits less long for its approval, so clients that cannot resume a stream see the end. */
const MAX_STREAM_MS = 2 * DAY;

export function createDeployRoutes(options: DeployRoutesOptions): RunRoutes {
  const { store, api, access, maxStreams, onStreamError } = options;
  const { signedIn, mayRead, operator, mayOperate, mayApprove } = createGuards({
    ...options,
    store: { run: async (id) => onlyDeploy(await store.run(id)) },
    notFound: answerUnknown,
  });
  const statuses = createDeployStatuses(options);
  const maxStreamMs = MAX_STREAM_MS;
  const streams = createEventStreams({ access, maxStreams, maxStreamMs, onError: onStreamError });
  const routes = new Hono<RunPageEnv>();
  // This also covers /deploy itself. It comes before the guards, because a preflight request has no credentials.
  routes.use('/deploy/*', pageHeaders(), crossOrigin(options.allowedOrigins));
  routes.get('/deploy', signedIn, (c) => listDeployments(c, options));
  routes.post('/deploy', operator, limitedBody(), (c) => start(c, api));
  routes.get('/deploy/:id/status', mayRead, async (c) =>
    c.body(await statuses.of(deployOf(c)), 200, { 'Content-Type': 'application/json' }),
  );
  routes.get('/deploy/:id/logs', mayRead, (c) => streamLogs(c, options, statuses, streams));
  const actions = [
    ['approve', mayApprove, 'Deployment approved'],
    ['reject', mayApprove, 'Deployment rejected'],
    ['cancel', mayOperate, 'Cancellation requested'],
  ] as const;
  for (const [action, guard, message] of actions) {
    const path = `/deploy/:id/${action}`;
    routes.post(path, guard, async (c) =>
      answer(c, options, await api[action](c.var.run.id, callerOf(c).name), message),
    );
    routes.all(path, (c) => jsonError(c, 405, `${action} takes POST only`, { Allow: 'POST' }));
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
    // The library lists methods and headers even when it refuses an origin, so it is only asked about allowed ones.
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
  c.set('target', run.id);
  return c.json({ deployment_id: run.id, status: 'running', message: 'Deployment started' }, 202);
}

async function streamLogs(
  c: DeployContext,
  { store }: DeployRoutesOptions,
  statuses: DeployStatuses,
  streams: EventStreams,
): Promise<Response> {
  const after = lastEventId(c);
  if (after === null) return jsonError(c, 400, 'The last event id must be a number.');
  const run = deployOf(c);
  const words = createDeployWords(run.id, await statuses.progressAt(run, after));
  return streamRun(c, { streams, store, after, words });
}

/** Lists deployments, the newest first. `git_url` and `path` choose one target, and `before` chooses older ones. */
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
  const next = new URLSearchParams({ ...c.req.query(), before: runs.at(-1)?.id ?? '' });
  return c.json({
    deployments: runs.map((run) => deploymentJson(run, runUrl(run.id))),
    next: found.length > size ? `/deploy?${next}` : null,
  });
}

/** Browsers are led back to the page of the run; programs get JSON. */
function answer(
  c: DeployContext,
  { assets }: DeployRoutesOptions,
  result: DeployActionResult,
  message: string,
): Response | Promise<Response> {
  switch (result.status) {
    case 'done':
      return isBrowser(c) ? c.redirect(runPath(c.var.run.id), 303) : c.json({ message });
    case 'refused':
      return refuse(c, assets, 409, result.reason);
    case 'ended': {
      const error = 'Deployment already completed or cancelled';
      return isBrowser(c) ? refuse(c, assets, 409, error) : c.json({ error }, 400);
    }
    case 'unknown':
      return answerUnknown(c);
  }
}

/** The answer has no error code, as older clients expect it. */
function answerUnknown(c: DeployContext): Response {
  return c.json({ error: 'Deployment not found' }, 404);
}

function onlyDeploy(run: Run | null): DeployRun | null {
  return run?.kind === 'deploy' ? run : null;
}

function deployOf(c: DeployContext): DeployRun {
  const run = onlyDeploy(c.var.run);
  if (!run) throw new Error('A route of deployments has no guard.');
  return run;
}
