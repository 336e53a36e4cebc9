/** POST /sync: requests that could not be stored, repeated requests, and the secrets that sign them. */

import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Hono } from 'hono';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { RequestError, StoreUnavailableError } from '../../errors.ts';
import { failAtCall } from '../../faults/failing-store.fixture.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { createSqliteStore } from '../../stores/sqlite/sqlite-store.ts';
import { createTestGate } from '../../web/access/access.fixture.ts';
import { signedHeaders } from '../signature.ts';
import { createStartSync } from './start-sync.ts';
import { createSyncApi } from './sync-api.ts';

const SECRET = 'the secret of this test';
const AMBIGUOUS = new Map([['platform/minio', 'Two folders claim the id platform/minio: a and b.']]);
const BODY = JSON.stringify({ services: ['platform/redis'] });

let directory: string;
let store: RunStore;

beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'sync-api-'));
  store = await createSqliteStore({ directory });
});

afterEach(async () => {
  await store.close();
  await rm(directory, { recursive: true, force: true });
});

function serve(over: RunStore): Hono {
  const app = new Hono();
  app.post(
    '/sync',
    createSyncApi({
      start: createStartSync({
        store: over,
        places: [
          {
            place: { repository: 'acme/platform', environment: null, branch: 'main' },
            services: async () => ({ runnable: ['platform/redis'], excluded: [], ambiguous: AMBIGUOUS }),
            isOnBranch: async () => true,
            commitsBeginningWith: async () => [],
            promoting: null,
          },
        ],
        now: Date.now,
      }),
      secrets: [SECRET],
      gate: createTestGate(),
      requireTimestamp: true,
      runUrl: (runId) => `http://localhost/runs/${runId}`,
      now: Date.now,
    }),
  );
  app.onError((error, c) => {
    if (error instanceof RequestError) return c.json({ error: error.message }, error.status);
    if (error instanceof StoreUnavailableError) return c.json({ error: error.message }, 503);
    throw error;
  });
  return app;
}

async function send(app: Hono, nonce: string): Promise<number> {
  const stamp = { timestamp: String(Math.floor(Date.now() / 1000)), nonce };
  const headers = await signedHeaders(SECRET, BODY, stamp);
  return (await app.request('/sync', { method: 'POST', headers, body: BODY })).status;
}

it('A signed request that could not be stored can be sent again, whichever call of the store failed', async () => {
  for (let n = 1; ; n += 1) {
    const failing = failAtCall(store, n);
    const app = serve(failing.store);
    const nonce = `nonce-of-round-${n}`;
    const first = await send(app, nonce);
    if (failing.failed().length === 0) {
      expect(first).toBe(200);
      break;
    }
    expect([first, await send(app, nonce)]).toEqual([503, 200]);
  }
});

it('A signed request is accepted once, also when it arrives many times at once', async () => {
  const app = serve(store);
  const statuses = await Promise.all(Array.from({ length: 10 }, () => send(app, 'nonce-of-many')));
  expect(statuses.toSorted()).toEqual([200, ...Array(9).fill(401)]);
  expect(await send(app, 'nonce-of-many')).toBe(401);
  expect(await store.runs({ limit: 10 })).toHaveLength(1);
});

async function refusalOf(body: object): Promise<unknown> {
  const text = JSON.stringify(body);
  const stamp = { timestamp: String(Math.floor(Date.now() / 1000)), nonce: randomUUID() };
  const headers = await signedHeaders(SECRET, text, stamp);
  const response = await serve(store).request('/sync', { method: 'POST', headers, body: text });
  expect(response.status).toBe(400);
  expect(await store.runs({ limit: 1 })).toEqual([]);
  return response.json();
}

it('An id that several folders claim is refused with the folders that claim it', async () => {
  expect(await refusalOf({ services: ['platform/minio', 'platform/nope', 'platform/redis'] })).toEqual({
    error: 'Unknown service "platform/nope"; Two folders claim the id platform/minio: a and b.',
  });
});

it.each([
  ['turns the text around', '\u202e'],
  ['has no width', '\u200b'],
  ['is a tag', '\u{e0041}'],
])('A character that %s is not repeated in an error', async (_what, character) => {
  const name = `a${character}b`;
  expect(await refusalOf({ services: [name] })).toEqual({ error: 'Unknown service "a\ufffdb"' });
  expect(await refusalOf({ all: true, [name]: 1 })).toEqual({ error: 'Unrecognized key: "a\ufffdb"' });
});
