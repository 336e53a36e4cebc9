/** The app that the server asks: at first one that accepts nothing, then the real one. */

import { Hono } from 'hono';
import { jsonError } from './error-answer.ts';

export interface Front extends Pick<Hono, 'fetch'> {
  /** The database can be reached; the server still prepares its repositories. */
  storeOpened(): void;
  /** From now on this app answers. */
  show(app: Pick<Hono, 'fetch'>): void;
}

/** The part that a server waits for while it already listens, but does not work yet. */
export function createFront(): Front {
  let isStoreOpen = false;
  const waiting = new Hono();
  waiting.get('/health', (c) => c.json({ status: 'healthy' }));
  waiting.get('/ready', (c) => {
    const checks = isStoreOpen ? { start: PREPARING } : { store: NO_DATABASE };
    return c.json({ status: 'not_ready', checks }, 503);
  });
  waiting.all('*', (c) => {
    const what = isStoreOpen ? 'prepares its repositories' : 'waits for its database';
    return jsonError(c, 503, `The server is starting and ${what}; send it again`);
  });
  let shown: Pick<Hono, 'fetch'> = waiting;
  return {
    fetch: (...request) => shown.fetch(...request),
    storeOpened() {
      isStoreOpen = true;
    },
    show(app) {
      shown = app;
    },
  };
}

const NO_DATABASE = {
  status: 'failed',
  problem: 'The database cannot be reached. Check that it runs, and STORE_URL.',
};
const PREPARING = {
  status: 'failed',
  problem: 'The server is starting: it still prepares its repositories and takes back runs.',
};
