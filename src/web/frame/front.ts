/** The app that the server asks: first one that accepts nothing, until the store can be reached, then the real one. */

import { Hono } from 'hono';
import { jsonError } from './error-answer.ts';

export interface Front extends Pick<Hono, 'fetch'> {
  /** From now on this app answers. */
  show(app: Pick<Hono, 'fetch'>): void;
}

/** `problem` says in one sentence what the start waits for. */
export function createFront(problem: () => string): Front {
  let shown: Pick<Hono, 'fetch'> = createWaitingApp(problem);
  return {
    fetch: (...request) => shown.fetch(...request),
    show(app) {
      shown = app;
    },
  };
}

function createWaitingApp(problem: () => string): Hono {
  const app = new Hono();
  app.get('/health', (c) => c.json({ status: 'healthy' }));
  app.get('/ready', (c) => {
    const store = { status: 'failed', problem: problem() };
    return c.json({ status: 'not_ready', checks: { store } }, 503);
  });
  app.all('*', (c) => jsonError(c, 503, 'The server is starting and waits for its database; send it again'));
  return app;
}
