import { describe, expect, it } from 'vitest';
import {
  AS_ADMIN,
  AS_OPERATOR,
  AS_VIEWER,
  BROWSER,
  createTestPages,
  LINK_KEY,
  signIn,
  WANTS_JSON,
} from '../pages.fixtures.ts';
import { createTestRuns } from '../runs.fixtures.ts';
import { signRunLink } from './access.ts';

const POST = { method: 'POST' };

function createPages() {
  const store = createTestRuns();
  store.add('r1');
  store.add('r2');
  return createTestPages(store);
}

describe('roles', () => {
  const NOBODY = {};
  const TABLE: [who: string, headers: Record<string, string>, read: number, retry: number, cancel: number][] =
    [
      ['nobody', NOBODY, 401, 401, 401],
      ['a wrong token', { Authorization: 'Bearer wrong' }, 401, 401, 401],
      ['a viewer', AS_VIEWER, 200, 403, 403],
      ['an operator', AS_OPERATOR, 200, 200, 409],
      ['an admin', AS_ADMIN, 200, 200, 409],
    ];

  it.each(TABLE)('%s', async (_who, headers, read, retry, cancel) => {
    const { app } = createPages();
    for (const path of ['/runs', '/runs/r1', '/runs/r1/log']) {
      expect((await app.request(path, { headers })).status).toBe(read);
    }
    expect((await app.request('/runs/r1/events', { method: 'HEAD', headers })).status).toBe(read);
    expect((await app.request('/runs/r1/retry', { ...POST, headers })).status).toBe(retry);
    expect((await app.request('/runs/r1/cancel', { ...POST, headers })).status).toBe(cancel);
  });

  it('decide which actions are done, in the name of the caller', async () => {
    const { app, acted } = createPages();
    await app.request('/runs/r1/retry', { ...POST, headers: AS_VIEWER });
    const retry = await app.request('/runs/r1/retry', { ...POST, headers: AS_OPERATOR });
    expect(await retry.json()).toEqual({
      status: 'accepted',
      run_id: 'retried',
      url: 'https://runner.example/runs/retried',
    });
    const cancel = await app.request('/runs/r1/cancel', { ...POST, headers: AS_ADMIN });
    expect(await cancel.json()).toEqual({ error: 'The run has already ended.', code: 'conflict' });
    expect(acted).toEqual(['retry r1 by oscar', 'cancel r1 by ada']);
  });
});

describe('without credentials', () => {
  it('an unknown run looks like a known one, whatever is asked of it', async () => {
    const { app } = createPages();
    for (const path of ['', '/log', '/events']) {
      const [known, unknown] = await Promise.all(
        ['r1', 'nope'].map(async (id) => {
          const response = await app.request(`/runs/${id}${path}`, { headers: WANTS_JSON });
          return [response.status, await response.text()];
        }),
      );
      expect(unknown).toEqual(known);
      expect(known?.[0]).toBe(401);
    }
    expect((await app.request('/runs/nope/retry', POST)).status).toBe(401);
    expect((await app.request('/runs/nope', { headers: AS_VIEWER })).status).toBe(404);
    expect((await app.request('/runs/nope/retry', { ...POST, headers: AS_OPERATOR })).status).toBe(404);
  });

  it('a browser is led to the login page, and from there to the page that it wanted', async () => {
    const { app } = createPages();
    const locationOf = async (path: string, init: RequestInit) =>
      (await app.request(path, { headers: BROWSER, ...init })).headers.get('Location');
    expect(await locationOf('/runs/r1', {})).toBe('/login?next=%2Fruns%2Fr1');
    expect(await locationOf('/runs/r1?key=wrong', {})).toBe('/login?next=%2Fruns%2Fr1');
    const filtered = await locationOf('/runs?kind=sync&before=r%2F1&key=wrong', {});
    expect(new URLSearchParams(filtered?.split('?')[1]).get('next')).toBe('/runs?kind=sync&before=r%2F1');
    expect(await locationOf('/runs/r1/retry', POST)).toBe('/login?next=%2Fruns%2Fr1');
  });
});

describe('a signed link', () => {
  const key = signRunLink(LINK_KEY, 'r1');

  it('reads its run: page, JSON, events and raw log', async () => {
    const { app } = createPages();
    const page = await app.request(`/runs/r1?key=${key}`, { headers: BROWSER });
    expect(page.status).toBe(200);
    const text = await page.text();
    expect(text).not.toContain('<form');
    expect(text).toContain('<a href="/login?next=%2Fruns%2Fr1">Sign in</a>');
    expect(page.headers.get('Referrer-Policy')).toBe('no-referrer');
    expect(text).not.toContain('name="referrer"');
    expect((await app.request(`/runs/r1?key=${key}`, { headers: WANTS_JSON })).status).toBe(200);
    expect((await app.request(`/runs/r1/events?key=${key}`, { method: 'HEAD' })).status).toBe(200);
    expect((await app.request(`/runs/r1/log?key=${key}`)).status).toBe(200);
  });

  it('does nothing else', async () => {
    const { app, acted } = createPages();
    expect((await app.request(`/runs?key=${key}`)).status).toBe(401);
    expect((await app.request(`/runs/r2?key=${key}`)).status).toBe(401);
    expect((await app.request(`/runs/r2/log?key=${key}`)).status).toBe(401);
    expect((await app.request(`/runs/r1/retry?key=${key}`, POST)).status).toBe(401);
    expect((await app.request(`/runs/r1/cancel?key=${key}`, POST)).status).toBe(401);
    expect((await app.request(`/runs/r1/retry?key=${key}`, { headers: AS_ADMIN })).status).toBe(404);
    expect(acted).toEqual([]);
  });
});

describe('a state change by cookie', () => {
  const ORIGINS: [what: string, headers: Record<string, string>, status: number][] = [
    ['our page, by Sec-Fetch-Site', { 'Sec-Fetch-Site': 'same-origin' }, 303],
    ['our page, by Origin', { Host: 'runner.example', Origin: 'https://runner.example' }, 303],
    ['another site', { Host: 'runner.example', Origin: 'https://evil.example' }, 403],
    ['another site, by Sec-Fetch-Site', { 'Sec-Fetch-Site': 'cross-site' }, 403],
    ['another host of the same site', { 'Sec-Fetch-Site': 'same-site' }, 403],
    ['a site that hides its origin', { Host: 'runner.example', Origin: 'null' }, 403],
    ['another port', { Host: 'runner.example', Origin: 'http://runner.example:81' }, 403],
    ['nowhere', {}, 403],
  ];

  it.each(ORIGINS)('from %s', async (_what, origin, status) => {
    const { app, acted } = createPages();
    const session = await signIn(app, 'operator-token');
    const headers = { ...BROWSER, ...session, ...origin };
    const response = await app.request('/runs/r1/retry', { ...POST, headers });
    expect(response.status).toBe(status);
    expect(acted).toHaveLength(status === 303 ? 1 : 0);
    if (status === 303) expect(response.headers.get('Location')).toBe('/runs/retried');
  });

  it('may come from the configured public address when a proxy changes the host', async () => {
    const store = createTestRuns();
    store.add('r1');
    const { app } = createTestPages(store, { publicUrl: 'https://runner.example/' });
    const session = await signIn(app, 'operator-token');
    const headers = { ...BROWSER, ...session, Host: '10.0.0.5:8080', Origin: 'https://runner.example' };
    expect((await app.request('/runs/r1/retry', { ...POST, headers })).status).toBe(303);
  });
});

describe('every page', () => {
  it.each(['/runs', '/runs/r1', '/runs/nope', '/runs/r1/log', '/login'])(
    '%s has the security headers',
    async (path) => {
      const { app } = createPages();
      const headers = path === '/login' ? BROWSER : { ...BROWSER, ...AS_VIEWER };
      const response = await app.request(path, { headers });
      expect(response.headers.get('Content-Security-Policy')).toBe(
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; " +
          "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
      );
      expect(response.headers.get('X-Content-Type-Options')).toBe('nosniff');
      expect(response.headers.get('Referrer-Policy')).toBe('no-referrer');
      expect(response.headers.get('Cache-Control')).toBe('no-store');
      expect(await response.text()).not.toMatch(/\sstyle=|\son[a-z]+=|<style|<script(?![^>]* src=)/);
    },
  );
});
