import { createHmac } from 'node:crypto';
import { Hono } from 'hono';
import { describe, expect, it } from 'vitest';
import type { ApiToken } from '../../config.ts';
import { RequestError } from '../../errors.ts';
import { requestErrorAnswer } from '../frame/error-answer.ts';
import { createTestRuns } from '../runs.fixtures.ts';
import { createTestAccess, createTestGate } from './access.fixture.ts';
import { hasRole, signRunLink } from './access.ts';

const HOUR_MS = 3_600_000;
const KEY = Buffer.alloc(32, 7);
const OSCAR: ApiToken = { name: 'oscar', role: 'operator', token: 'secret-1' };

interface AppOptions {
  tokens?: ApiToken[];
  https?: boolean;
  now?: () => number;
  store?: ReturnType<typeof createTestRuns>;
}

function createApp({
  tokens = [OSCAR],
  https = false,
  now = () => 0,
  store = createTestRuns(),
}: AppOptions = {}) {
  const gate = createTestGate();
  const access = createTestAccess({
    tokens,
    store,
    gate,
    linkKey: KEY,
    https,
    clock: now,
  });
  const app = new Hono();
  app.onError((error, c) =>
    error instanceof RequestError ? requestErrorAnswer(c, error) : c.text(error.message, 500),
  );
  app.get('/who', async (c) => c.json(await access.identify(c)));
  app.get('/opens/:id', (c) => c.json(access.opensRun(c, c.req.param('id'))));
  app.get('/in/:token', async (c) => {
    const holder = access.checkToken(c, c.req.param('token'));
    if (holder) await access.sessions.begin(c, holder);
    return c.json(holder);
  });
  app.get('/out', async (c) => {
    await access.sessions.end(c);
    return c.body(null);
  });
  return app;
}

async function who(app: Hono, headers: Record<string, string>) {
  return (await app.request('/who', { headers })).json();
}

async function sessionOf(app: Hono, token: string): Promise<string> {
  const setCookie = (await app.request(`/in/${token}`)).headers.get('Set-Cookie') ?? '';
  return setCookie.split(';')[0] ?? '';
}

describe('API tokens', () => {
  it('identify by Authorization: Bearer, whatever the case of the scheme', async () => {
    const identity = { name: 'oscar', role: 'operator', credential: 'bearer', sessionId: null };
    expect(await who(createApp(), { Authorization: 'Bearer secret-1' })).toEqual(identity);
    expect(await who(createApp(), { Authorization: 'bearer secret-1' })).toEqual(identity);
  });

  it('do not identify when wrong, cut, lengthened, empty or of another scheme', async () => {
    for (const value of [
      'Bearer secret-2',
      'Bearer secret',
      'Bearer secret-11',
      'Bearer ',
      'Basic secret-1',
    ]) {
      expect(await who(createApp(), { Authorization: value })).toBeNull();
    }
  });

  it('identify nobody when none is configured', async () => {
    expect(await who(createApp({ tokens: [] }), { Authorization: 'Bearer secret-1' })).toBeNull();
  });

  it('rank viewer below operator below admin', () => {
    const operator = { name: 'oscar', role: 'operator', credential: 'bearer', sessionId: null } as const;
    expect([hasRole(operator, 'viewer'), hasRole(operator, 'operator'), hasRole(operator, 'admin')]).toEqual([
      true,
      true,
      false,
    ]);
    expect(hasRole(null, 'viewer')).toBe(false);
  });
});

describe('An address with ten wrong tokens within a minute', () => {
  const status = async (app: Hono, token: string) =>
    (await app.request('/who', { headers: { Authorization: `Bearer ${token}` } })).status;

  it('is answered 429, also for a token that is right at last', async () => {
    const app = createApp();
    for (let guess = 0; guess < 10; guess += 1) expect(await status(app, `guess-${guess}`)).toBe(200);
    const refused = await app.request('/who', { headers: { Authorization: 'Bearer guess' } });
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('Retry-After'))).toBeGreaterThan(0);
    expect(await status(app, 'secret-1')).toBe(429);
    expect((await app.request('/in/secret-1')).status).toBe(429);
  });

  it('does not lock out sessions, and tokens that were right there before', async () => {
    const app = createApp();
    const cookie = await sessionOf(app, 'secret-1');
    for (let guess = 0; guess < 20; guess += 1) await status(app, `guess-${guess}`);
    expect(await status(app, 'secret-1')).toBe(200);
    expect(await who(app, { Cookie: cookie })).toMatchObject({ name: 'oscar' });
  });
});

describe('a session', () => {
  it('identifies by a cookie that does not contain the token', async () => {
    const app = createApp();
    const cookie = await sessionOf(app, 'secret-1');
    expect(cookie).not.toContain('secret-1');
    expect(cookie).not.toContain(Buffer.from('secret-1').toString('base64url'));
    expect(await who(app, { Cookie: cookie })).toMatchObject({
      name: 'oscar',
      role: 'operator',
      credential: 'session',
    });
  });

  it('sets a cookie that scripts and other sites cannot use, bound to the host under https', async () => {
    const plain = (await createApp().request('/in/secret-1')).headers.get('Set-Cookie');
    expect(plain).toMatch(/^iac_runner_session=\S+; Max-Age=43200; Path=\/; HttpOnly; SameSite=Lax$/);
    const secure = (await createApp({ https: true }).request('/in/secret-1')).headers.get('Set-Cookie');
    expect(secure).toMatch(/^__Host-iac_runner_session=.*; Secure/);
  });

  it('is not made from a wrong token', async () => {
    expect((await createApp().request('/in/wrong')).headers.get('Set-Cookie')).toBeNull();
  });

  it('ends after twelve hours', async () => {
    let at = 0;
    const app = createApp({ now: () => at });
    const cookie = await sessionOf(app, 'secret-1');
    at = 12 * HOUR_MS - 1;
    expect(await who(app, { Cookie: cookie })).not.toBeNull();
    at = 12 * HOUR_MS;
    expect(await who(app, { Cookie: cookie })).toBeNull();
  });

  it('ends when its token is removed or replaced, and follows a change of role', async () => {
    const store = createTestRuns();
    const Cookie = await sessionOf(createApp({ store }), 'secret-1');
    expect(await who(createApp({ store, tokens: [] }), { Cookie })).toBeNull();
    expect(await who(createApp({ store, tokens: [{ ...OSCAR, token: 'secret-2' }] }), { Cookie })).toBeNull();
    const demoted = await who(createApp({ store, tokens: [{ ...OSCAR, role: 'viewer' }] }), { Cookie });
    expect(demoted).toMatchObject({ role: 'viewer' });
  });

  it('is not made of what the store holds, nor of a part of its cookie', async () => {
    const store = createTestRuns();
    const app = createApp({ store });
    const [name = '', value = ''] = (await sessionOf(app, 'secret-1')).split('=');
    const [session] = await store.sessions();
    expect(JSON.stringify(session)).not.toContain(value);
    for (const forged of [session?.id ?? '', value.slice(1), `${value}A`, value.toLowerCase(), '']) {
      expect(await who(app, { Cookie: `${name}=${forged}` })).toBeNull();
    }
  });

  it('ends when it is signed out, also for a copy of its cookie; others go on', async () => {
    const app = createApp();
    const [first, second] = [await sessionOf(app, 'secret-1'), await sessionOf(app, 'secret-1')];
    await app.request('/out', { headers: { Cookie: first } });
    expect(await who(app, { Cookie: first })).toBeNull();
    expect(await who(app, { Cookie: second })).toMatchObject({ name: 'oscar' });
  });

  it('is ignored beside a wrong bearer token', async () => {
    const app = createApp();
    const cookie = await sessionOf(app, 'secret-1');
    expect(await who(app, { Cookie: cookie, Authorization: 'Bearer wrong' })).toBeNull();
  });
});

describe('a signed link', () => {
  it('is the HMAC-SHA256 of the run id in 43 characters of base64url', () => {
    expect(signRunLink(KEY, 'run-1')).toBe(createHmac('sha256', KEY).update('run-1').digest('base64url'));
    expect(signRunLink(KEY, 'run-1')).toMatch(/^[\w-]{43}$/);
  });

  it('opens its run and no other', async () => {
    const app = createApp();
    const key = signRunLink(KEY, 'run-1');
    const opens = async (path: string) => (await app.request(path)).json();
    expect(await opens(`/opens/run-1?key=${key}`)).toBe(true);
    expect(await opens(`/opens/run-2?key=${key}`)).toBe(false);
    expect(await opens(`/opens/run-1?key=${key.slice(1)}`)).toBe(false);
    expect(await opens('/opens/run-1?key=')).toBe(false);
    expect(await opens('/opens/run-1')).toBe(false);
  });
});
