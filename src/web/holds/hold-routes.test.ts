import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Hono } from 'hono';
import { expect, it, onTestFinished } from 'vitest';
import { RequestError } from '../../errors.ts';
import { MAX_HOLDS } from '../../runs/sync/hold.ts';
import { createSqliteStore } from '../../stores/sqlite/sqlite-store.ts';
import { createHoldApi } from '../../triggers/holds/hold-api.ts';
import { createRollbackApi } from '../../triggers/sync/rollback-api.ts';
import { createStartSync } from '../../triggers/sync/start-sync.ts';
import { createTestAccess, createTestGate } from '../access/access.fixture.ts';
import { createLoginRoutes } from '../access/login-pages.ts';
import { loadAssets } from '../frame/assets.ts';
import { requestErrorAnswer } from '../frame/error-answer.ts';
import { AS_ADMIN, AS_OPERATOR, AS_VIEWER, BROWSER, signIn, WANTS_JSON } from '../pages.fixtures.ts';
import { createServiceRoutes } from '../services/service-pages.ts';
import { createHoldRoutes } from './hold-routes.ts';

const REDIS = 'platform/redis';
const SHA = '1234567890abcdef1234567890abcdef12345678';
const OTHER_SHA = `1234567f${'0'.repeat(32)}`;
const COMMITS = [SHA, OTHER_SHA];
const IDS = { runnable: [REDIS], excluded: ['platform/base'], ambiguous: new Map<string, string>() };
const LATER = '2999-01-01T00:00:00Z';
/** A secret that the server knows. */
const SECRET = 'canary-of-the-server';

async function createPages() {
  const directory = mkdtempSync(path.join(tmpdir(), 'iac-holds-'));
  const store = await createSqliteStore({ directory });
  onTestFinished(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });
  const logged: unknown[] = [];
  const place = { environment: null, repository: 'acme/platform', branch: 'main' };
  const services = async () => IDS;
  const log = { info: (...line: unknown[]) => logged.push(line) };
  const gate = createTestGate();
  const tokens = [
    { name: 'vera', role: 'viewer', token: 'viewer-token' },
    { name: 'oscar', role: 'operator', token: 'operator-token' },
    { name: 'ada', role: 'admin', token: 'admin-token' },
  ] as const;
  const shared = {
    store,
    access: createTestAccess({ tokens, store, gate }),
    assets: loadAssets(),
    publicUrl: null,
    clock: Date.now,
    commitUrl: () => null,
    runUrl: (runId: string) => `https://runner.example/runs/${runId}`,
  };
  const isOnBranch = async (revision: string) => COMMITS.includes(revision);
  const commitsBeginningWith = async (digits: string) => COMMITS.filter((id) => id.startsWith(digits));
  const places = [{ place, services, isOnBranch, commitsBeginningWith, promoting: null }];
  const mask = (text: string) => text.replaceAll(SECRET, '****');
  const holds = createHoldApi({ store, places, now: Date.now, log, mask });
  const rollBack = createRollbackApi({ store, places, mask });
  const startSync = createStartSync({ store, places, now: Date.now });
  const known = async () => IDS.runnable;
  const app = new Hono();
  app.onError((error, c) => {
    if (error instanceof RequestError) return requestErrorAnswer(c, error);
    throw error;
  });
  app.route('/', createLoginRoutes({ ...shared, gate }));
  app.route('/', createHoldRoutes({ ...shared, holds }));
  const standing = async () => ({ head: null, services: [], remarks: [], problem: null });
  const shown = [{ place, scope: 'sync:main', known, standing }];
  app.route('/', createServiceRoutes({ ...shared, places: shown, hasOutside: false, rollBack, startSync }));
  return { app, store, logged };
}

function post(app: Hono, address: string, body: unknown, headers: Record<string, string> = AS_OPERATOR) {
  return app.request(address, { method: 'POST', headers, body: JSON.stringify(body) });
}

it('An operator sets a hold, everybody who is signed in sees it, and an operator releases it once', async () => {
  const { app, logged } = await createPages();
  const set = await post(app, '/holds', { reason: ' Freeze ', services: [REDIS, REDIS], until: LATER });
  expect(set.status).toBe(201);
  const hold = (await set.json()) as { id: string };
  expect(hold).toEqual({
    id: hold.id,
    reason: 'Freeze',
    by: 'oscar',
    repository: null,
    environment: null,
    services: [REDIS],
    created_at: expect.stringMatching(/Z$/),
    until: '2999-01-01T00:00:00.000Z',
  });
  const list = await app.request('/holds', { headers: { ...AS_VIEWER, ...WANTS_JSON } });
  expect(await list.json()).toEqual({ holds: [hold] });
  const one = await app.request(`/holds/${hold.id}`, { headers: { ...AS_VIEWER, ...WANTS_JSON } });
  expect(await one.json()).toEqual(hold);
  const remove = () => app.request(`/holds/${hold.id}`, { method: 'DELETE', headers: AS_OPERATOR });
  const released = await remove();
  expect([released.status, await released.text()]).toEqual([204, '']);
  const again = await remove();
  expect([again.status, await again.json()]).toEqual([404, { error: 'Hold not found.', code: 'not_found' }]);
  expect(logged).toEqual([
    [expect.objectContaining({ hold: hold.id, actor: 'oscar' }), 'hold set'],
    [expect.objectContaining({ hold: hold.id, actor: 'oscar' }), 'hold released'],
  ]);
});

it('A secret in the reason of a hold or a rollback is masked before anything is stored or logged', async () => {
  const { app, store, logged } = await createPages();
  const set = await post(app, '/holds', { reason: `The password ${SECRET} leaked` });
  expect(await set.json()).toMatchObject({ reason: 'The password **** leaked' });
  expect(await store.holds()).toMatchObject([{ reason: 'The password **** leaked' }]);
  expect(JSON.stringify(logged)).not.toContain(SECRET);
  await post(app, `/services/${REDIS}/rollback`, { to: SHA, reason: `${SECRET} leaked` });
  expect(await store.runs({ limit: 1 })).toMatchObject([{ input: { note: '**** leaked' } }]);
});

it('Two requests at once do not set more holds than are kept', async () => {
  const { app, store } = await createPages();
  const freeze = { repository: null, environment: null, services: null, reason: 'x', by: 'ada', until: null };
  await Promise.all(Array.from({ length: MAX_HOLDS - 1 }, () => store.saveHold(freeze)));
  const answers = await Promise.all([
    post(app, '/holds', { reason: 'x' }),
    post(app, '/holds', { reason: 'x' }),
  ]);
  expect(answers.map(({ status }) => status).sort()).toEqual([201, 409]);
  const refused = answers.find(({ status }) => status === 409);
  expect(await refused?.json()).toMatchObject({
    error: '1000 holds stand already: release some of them',
  });
});

it.each<[string, unknown, string]>([
  ['no reason', {}, 'reason: '],
  ['an empty reason', { reason: '  ' }, 'reason: must not be empty'],
  ['a reason of two lines', { reason: 'a\nb' }, 'reason: must be one line'],
  ['a reason that turns text around', { reason: 'a\u202eb' }, 'reason: must be one line'],
  ['a long reason', { reason: 'a'.repeat(501) }, 'reason: '],
  ['an unknown service', { reason: 'x', services: ['platform/none'] }, 'Unknown service "platform/none"'],
  ['an excluded service', { reason: 'x', services: ['platform/base'] }, 'Excluded service "platform/base"'],
  ['no service in the list', { reason: 'x', services: [] }, 'services: must name a service'],
  ['services that are no list', { reason: 'x', services: REDIS }, 'services: '],
  ['a time that has passed', { reason: 'x', until: '2020-01-01T00:00:00Z' }, 'until: must be in the future'],
  [
    'a time without a zone',
    { reason: 'x', until: '2999-01-01T00:00:00' },
    'until: must be a time of RFC 3339',
  ],
  ['an unknown environment', { reason: 'x', environment: 'staging' }, 'there is only "default"'],
  ['an unknown repository', { reason: 'x', repository: 'acme/other' }, 'there is only "acme/platform"'],
  ['an unknown field', { reason: 'x', service: REDIS }, 'Unrecognized key: "service"'],
  ['no object', 'x', 'expected object'],
])('A hold with %s is refused with 400 and not stored', async (_, body, problem) => {
  const { app, store } = await createPages();
  const response = await post(app, '/holds', body);
  expect(response.status).toBe(400);
  expect(await response.json()).toEqual({ error: expect.stringContaining(problem), code: 'invalid_request' });
  expect(await store.holds()).toEqual([]);
});

it('A hold may name the environment and the repository that there are', async () => {
  const { app } = await createPages();
  const named = { environment: 'default', repository: 'acme/platform' };
  const response = await post(app, '/holds', { reason: 'x', ...named });
  expect(await response.json()).toMatchObject(named);
});

it.each<[string, string, string]>([
  ['POST', '/holds', '{"reason":"x"}'],
  ['DELETE', '/holds/some', ''],
  ['POST', '/holds/some/release', ''],
  ['POST', `/services/${REDIS}/rollback`, `{"to":"${SHA}"}`],
])('%s %s needs the role operator, and a session needs our origin', async (method, address, body) => {
  const { app } = await createPages();
  const ask = (headers: Record<string, string>) =>
    app.request(address, { method, headers, ...(body && { body }) });
  expect((await ask({})).status).toBe(401);
  const asViewer = await ask(AS_VIEWER);
  expect([asViewer.status, await asViewer.json()]).toEqual([
    403,
    { error: 'This needs the role operator, but vera has the role viewer.', code: 'forbidden' },
  ]);
  const session = await signIn(app, 'operator-token');
  expect((await ask({ ...session, Origin: 'https://elsewhere.example' })).status).toBe(403);
});

it('A body that is too large or no JSON is refused', async () => {
  const { app } = await createPages();
  expect((await post(app, '/holds', { reason: 'x'.repeat(1_100_000) })).status).toBe(413);
  const response = await app.request('/holds', { method: 'POST', headers: AS_OPERATOR, body: '{' });
  expect(response.status).toBe(400);
});

it('The page has a form for operators, which holds and releases, and says what is wrong', async () => {
  const { app, store } = await createPages();
  const session = { ...(await signIn(app, 'operator-token')), ...BROWSER, Origin: 'http://localhost' };
  const send = (address: string, fields: Record<string, string>) =>
    app.request(address, { method: 'POST', headers: session, body: new URLSearchParams(fields) });
  const wrong = await send('/holds', { reason: 'x', services: 'none' });
  expect(wrong.status).toBe(400);
  expect(await wrong.text()).toContain('Unknown service');
  const until = '2999-01-01T10:00';
  const set = await send('/holds', { reason: '<b>Freeze</b>', services: `${REDIS}, ${REDIS}`, until });
  expect([set.status, set.headers.get('Location')]).toEqual([303, '/holds']);
  const [hold] = await store.holds();
  expect(hold).toMatchObject({ services: [REDIS], until: Date.parse('2999-01-01T10:00:00Z'), by: 'oscar' });
  for (const address of ['/holds', '/services']) {
    const text = await (await app.request(address, { headers: session })).text();
    expect(text).toContain('&lt;b&gt;Freeze&lt;/b&gt;');
    expect(text).toContain(`action="/holds/${hold?.id}/release"`);
    expect(text).toContain('action="/holds"');
    expect(text).toContain('2999-01-01 10:00:00 UTC');
    const seen = await (await app.request(address, { headers: { ...AS_VIEWER, ...BROWSER } })).text();
    expect(seen).toContain('oscar');
    expect(seen).not.toContain('<form method="post" action="/holds');
  }
  expect((await send(`/holds/${hold?.id}/release`, {})).status).toBe(303);
  expect(await store.holds()).toEqual([]);
});

it('The list of services shows what holds each of them', async () => {
  const { app } = await createPages();
  await post(app, '/holds', { reason: 'Freeze' });
  const response = await app.request('/services', { headers: { ...AS_VIEWER, ...WANTS_JSON } });
  expect(await response.json()).toMatchObject({
    services: [{ service: REDIS, hold: { reason: 'Freeze', by: 'oscar', services: null, until: null } }],
  });
  const page = await (await app.request('/services', { headers: { ...AS_VIEWER, ...BROWSER } })).text();
  expect(page).toContain('Held by oscar: Freeze (until somebody releases it).');
});

it.each([`/services/${REDIS}/rollback`, `/services/${encodeURIComponent(REDIS)}/rollback`])(
  'POST %s takes the service back in the name of the caller',
  async (address) => {
    const { app, store } = await createPages();
    const response = await post(app, address, { to: SHA, reason: 'It leaks.' });
    expect(response.status).toBe(200);
    const answer = (await response.json()) as { run_id: string };
    const url = `https://runner.example/runs/${answer.run_id}`;
    expect(answer).toEqual({ status: 'accepted', services: [REDIS], run_id: answer.run_id, url });
    expect(await store.run(answer.run_id)).toMatchObject({
      trigger: { source: 'sync_api', actor: 'oscar' },
      input: { intent: 'back', revision: SHA, overrideHold: false, note: 'It leaks.' },
      coalesce: false,
    });
  },
);

it.each<[string, unknown, string]>([
  ['an unknown service', { to: SHA }, 'Unknown service "platform/none"'],
  ['a commit that is too short', { to: SHA.slice(0, 6) }, 'to: must be a commit id'],
  ['a short commit that two have', { to: SHA.slice(0, 7) }, 'Several commits of main begin with 1234567'],
  ['a short commit that none has', { to: 'abcdef12' }, 'The commit abcdef12 is not on main'],
  ['a commit that is not on the branch', { to: 'a'.repeat(40) }, 'is not on main'],
  ['an unknown environment', { to: SHA, environment: 'staging' }, 'there is only "default"'],
])('A rollback with %s is refused with 400', async (name, body, problem) => {
  const { app } = await createPages();
  const service = name === 'an unknown service' ? 'platform/none' : REDIS;
  const response = await post(app, `/services/${service}/rollback`, body);
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ error: expect.stringContaining(problem) });
});

it('The beginning of a commit is enough for a rollback if no other commit of the branch has it', async () => {
  const { app, store } = await createPages();
  const response = await post(app, `/services/${REDIS}/rollback`, { to: SHA.slice(0, 8), force: true });
  expect(response.status).toBe(200);
  const { run_id } = (await response.json()) as { run_id: string };
  expect(await store.run(run_id)).toMatchObject({ input: { intent: 'back', revision: SHA, force: true } });
});

it('Only an admin may pass over a hold with a rollback', async () => {
  const { app, store } = await createPages();
  const body = { to: SHA, override_hold: true };
  const refused = await post(app, `/services/${REDIS}/rollback`, body);
  expect(refused.status).toBe(403);
  expect(await refused.json()).toMatchObject({ error: expect.stringContaining('needs the role admin') });
  const accepted = await post(app, `/services/${REDIS}/rollback`, body, AS_ADMIN);
  const { run_id } = (await accepted.json()) as { run_id: string };
  expect(await store.run(run_id)).toMatchObject({ input: { overrideHold: true } });
});
