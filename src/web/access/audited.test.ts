import { Hono } from 'hono';
import { expect, it } from 'vitest';
import { RequestError, StoreUnavailableError } from '../../errors.ts';
import { createAuditRoutes } from '../audit/audit-routes.ts';
import { loadAssets } from '../frame/assets.ts';
import { AS_ADMIN, AS_OPERATOR, BROWSER, createTestPages, LINK_KEY, WANTS_JSON } from '../pages.fixtures.ts';
import { createTestRuns, START_AT, type TestRuns } from '../runs.fixtures.ts';
import { createTestAccess } from './access.fixture.ts';

const POST = { method: 'POST', headers: AS_OPERATOR };

function createPages(over: Partial<TestRuns> = {}, retry?: () => Promise<never>) {
  const store = { ...createTestRuns(), ...over };
  store.add('r1');
  const pages = createTestPages(store, retry ? { retry } : {});
  pages.app.onError((error, c) => {
    if (error instanceof RequestError) return c.json({ error: error.message }, error.status);
    return c.json({ error: error.message }, error instanceof StoreUnavailableError ? 503 : 500);
  });
  return { ...pages, store };
}

const away = () => Promise.reject(new StoreUnavailableError('The disk is full.'));

it('An action that cannot be noted is not done, and the answer is 503', async () => {
  const { app, acted } = createPages({ recordAction: away });
  const response = await app.request('/runs/r1/retry', POST);
  expect([response.status, acted]).toEqual([503, []]);
});

it('Nobody is signed in if that cannot be noted', async () => {
  const { app } = createPages({ recordAction: away });
  const body = new URLSearchParams({ token: 'operator-token' });
  const response = await app.request('/login', { method: 'POST', body });
  expect([response.status, response.headers.get('Set-Cookie')]).toEqual([503, null]);
});

it('An action whose end cannot be noted was done, and its entry says that no end is known', async () => {
  const { app, acted, store } = createPages({ finishAction: away });
  const response = await app.request('/runs/r1/retry', POST);
  expect([response.status, acted]).toEqual([200, ['retry r1 by oscar']]);
  expect(await store.actions({ limit: 5 })).toMatchObject([{ action: 'retry', target: 'r1', result: null }]);
});

it.each([
  ['a refusal', new RequestError(409, 'It runs already.'), 'refused (409)'],
  ['a store that is away', new StoreUnavailableError('The disk is full.'), 'failed (503)'],
  ['a defect', new Error('A defect of the test'), 'failed (500)'],
])('The entry of an action that ends with %s has that result', async (_what, error, result) => {
  const { app, store } = createPages({}, () => Promise.reject(error));
  await app.request('/runs/r1/retry', POST);
  expect(await store.actions({ limit: 5 })).toMatchObject([{ actor: 'oscar', action: 'retry', result }]);
});

it('The entry of a run that cannot be loaded has the result of the answer', async () => {
  const { app, store } = createPages({ run: away });
  expect((await app.request('/runs/r1/retry', POST)).status).toBe(503);
  expect(await store.actions({ limit: 5 })).toMatchObject([{ action: 'retry', result: 'failed (503)' }]);
});

it('The export as CSV quotes its texts, and no spreadsheet takes one for a formula', async () => {
  const { store } = createPages();
  const entry = { actor: 'ada', role: 'admin', action: 'sync', address: '10.0.0.1', result: 'done' };
  await store.recordAction({ ...entry, target: '=1+1' });
  await store.recordAction({ ...entry, target: 'a "b",\nc' });
  const access = createTestAccess({
    tokens: [{ name: 'ada', role: 'admin', token: 'admin-token' }],
    store,
    linkKey: LINK_KEY,
  });
  const assets = loadAssets();
  const app = new Hono().route(
    '/',
    createAuditRoutes({ store, access, assets, publicUrl: null, clock: () => START_AT }),
  );
  const csv = await (await app.request('/audit?format=csv', { headers: AS_ADMIN })).text();
  expect(csv.split('\r\n').slice(1, 3)).toEqual([
    expect.stringMatching(/^"[^"]+Z","ada","admin","sync","a ""b"",\nc","10\.0\.0\.1","done"$/),
    expect.stringMatching(/,"'=1\+1",/),
  ]);
  const lines = { headers: { ...AS_ADMIN, Accept: 'application/x-ndjson' } };
  expect((await (await app.request('/audit', lines)).text()).trim().split('\n')).toHaveLength(2);
  const found = await app.request('/audit?target=%3D1%2B1&format=jsonl', { headers: AS_ADMIN });
  expect((await found.text()).trim().split('\n')).toHaveLength(1);
  expect((await app.request('/audit?actor=a%0Ab', { headers: AS_ADMIN })).status).toBe(400);
  const bar = await (await app.request('/audit?actor=ada', { headers: { ...AS_ADMIN, ...BROWSER } })).text();
  expect(bar).toContain('name="actor" value="ada"');
  expect(bar).toContain('href="/audit?actor=ada&amp;format=csv"');
  const one = await app.request('/audit', { headers: { ...AS_ADMIN, ...WANTS_JSON } });
  expect(await one.json()).toMatchObject({
    next: null,
    entries: [{ target: 'a "b",\nc' }, { target: '=1+1' }],
  });
});
