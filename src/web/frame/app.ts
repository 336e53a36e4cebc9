/** The whole Hono app: the endpoints of the triggers, the health checks, and the pages. */

import { type Context, type Handler, Hono, type NotFoundHandler } from 'hono';
import type { Logger } from 'pino';
import { QueueFullError, RequestError, StoreUnavailableError } from '../../errors.ts';
import { hasCredentials, type RunPageEnv } from '../access/access.ts';
import { compressTexts } from './compression.ts';
import { jsonError, requestErrorAnswer } from './error-answer.ts';
import type { Readiness } from './readiness.ts';

export interface AppOptions {
  /** These three read their own bodies, within their own limits. */
  githubWebhook: Handler;
  syncApi: Handler;
  pubsubPush?: Handler;
  /** Each brings its own paths. */
  pages: readonly (Hono | Hono<RunPageEnv>)[];
  /** Answers an address at which there is nothing. */
  notFound: NotFoundHandler;
  /** False once the process cannot do its minimum any more. */
  isHealthy(): boolean;
  readiness(): Promise<Readiness>;
  log: Logger;
}

export function createApp(options: AppOptions): Hono {
  const app = new Hono();
  app.post('/webhook', options.githubWebhook);
  // A request without a signature may come from somebody who is signed in.
  app.post('/sync', (c, next) => (hasCredentials(c) ? next() : options.syncApi(c, next)));
  if (options.pubsubPush) app.post('/pubsub/push', options.pubsubPush);
  app.get('/health', (c) =>
    options.isHealthy() ? c.json({ status: 'healthy' }) : c.json({ status: 'unhealthy' }, 503),
  );
  app.get('/ready', async (c) => {
    const readiness = await options.readiness();
    return c.json(readiness, readiness.status === 'not_ready' ? 503 : 200);
  });
  // The answers above are short, and have to be fast.
  app.use(compressTexts());
  for (const routes of options.pages) app.route('/', routes as Hono);
  for (const path of ['/webhook', '/sync', '/pubsub/push']) {
    app.all(path, (c) => jsonError(c, 405, `${path} takes POST only`, { Allow: 'POST' }));
  }
  app.notFound(options.notFound);
  app.onError((error, c) => answerError(error, c, options.log));
  return app;
}

function answerError(error: Error, c: Context, log: Logger): Response {
  if (error instanceof RequestError) return requestErrorAnswer(c, error);
  if (error instanceof QueueFullError) {
    log.warn({ path: c.req.path, problem: error.message }, 'request refused: the queue is full');
    return jsonError(c, 503, 'Too many runs are waiting; send it again later');
  }
  if (error instanceof StoreUnavailableError) {
    log.error({ err: error, path: c.req.path }, 'request not stored');
    return jsonError(c, 503, 'The request could not be stored; send it again');
  }
  // The client closed the connection while it sent the request, so nobody reads the answer.
  if (c.req.raw.signal.aborted) return jsonError(c, 400, 'The request was cut off');
  log.error({ err: error, path: c.req.path }, 'request failed by a defect');
  return jsonError(c, 500, 'The server failed; see its log');
}
