import { describe, expect, it } from 'vitest';
import { StoreUnavailableError } from '../../errors.ts';
import { localPath } from '../doors/request-origin.ts';
import { BROWSER, createTestPages, signIn } from '../pages.fixtures.ts';
import { createTestRuns } from '../runs.fixtures.ts';

function createApp() {
  return createTestPages(createTestRuns()).app;
}

function postForm(fields: Record<string, string>, headers: Record<string, string> = {}) {
  return { method: 'POST', body: new URLSearchParams(fields), headers };
}

describe('signing in', () => {
  it('leads to the page that the caller wanted', async () => {
    const form = postForm({ token: ' viewer-token ', next: '/runs/r1' });
    const response = await createApp().request('/login', form);
    expect([response.status, response.headers.get('Location')]).toEqual([303, '/runs/r1']);
  });

  it('says the same to every wrong token, and does not repeat it', async () => {
    const answers = await Promise.all(
      ['', 'nope', 'viewer-toke', 'vera'].map(async (token) => {
        const response = await createApp().request('/login', postForm({ token }));
        return `${response.status} ${response.headers.get('Set-Cookie')} ${await response.text()}`;
      }),
    );
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toMatch(/^401 null /);
  });

  it('is refused for a minute after ten wrong tokens from one address, and the page says so', async () => {
    const app = createApp();
    for (let guess = 0; guess < 10; guess += 1) {
      expect((await app.request('/login', postForm({ token: `guess-${guess}` }))).status).toBe(401);
    }
    const response = await app.request('/login', postForm({ token: 'viewer-token' }));
    expect(response.status).toBe(429);
    expect(response.headers.get('Retry-After')).toMatch(/^\d+$/);
    expect(await response.text()).toContain('Too many failed attempts from this address; wait a minute.');
  });

  it('refuses a form that another site sent, or a large one', async () => {
    const foreign = postForm({ token: 'viewer-token' }, { Origin: 'https://evil.example' });
    expect((await createApp().request('/login', foreign)).status).toBe(403);
    const large = postForm({ token: 'x'.repeat(10_000) });
    expect((await createApp().request('/login', large)).status).toBe(413);
  });

  it('lets nobody in whose session cannot be stored, and the audit log says that it failed', async () => {
    const store = createTestRuns();
    const saveSession = () => Promise.reject(new StoreUnavailableError('The disk is full.'));
    const { app } = createTestPages({ ...store, saveSession });
    const signingIn = (async () => app.request('/login', postForm({ token: 'viewer-token' })))();
    await expect(signingIn).rejects.toThrow(StoreUnavailableError);
    expect(await store.sessions()).toEqual([]);
    expect(await store.actions({ limit: 10 })).toMatchObject([{ action: 'sign_in', result: 'failed (503)' }]);
  });

  it('puts the wanted path into the page escaped', async () => {
    const next = encodeURIComponent('/runs?"><script>alert(1)</script>');
    const text = await (await createApp().request(`/login?next=${next}`)).text();
    expect(text).not.toContain('<script');
    expect(text).toContain('name="next"');
  });

  it('is skipped for callers who are signed in', async () => {
    const app = createApp();
    const headers = await signIn(app, 'viewer-token');
    const response = await app.request('/login?next=//evil.example', { headers });
    expect([response.status, response.headers.get('Location')]).toEqual([303, '/']);
  });
});

describe('signing out', () => {
  it('removes the cookie, from one of our pages only', async () => {
    const app = createApp();
    const session = await signIn(app, 'viewer-token');
    const headers = { ...BROWSER, ...session };
    expect((await app.request('/logout', { method: 'POST', headers })).status).toBe(403);
    const same = { ...headers, 'Sec-Fetch-Site': 'same-origin' };
    const response = await app.request('/logout', { method: 'POST', headers: same });
    expect(response.status).toBe(303);
    expect(response.headers.get('Set-Cookie')).toMatch(/^iac_runner_session=; Max-Age=0; Path=\//);
    expect((await app.request('/logout', { headers })).status).toBe(404);
  });
});

describe('localPath', () => {
  const PATHS: [next: string | undefined, path: string][] = [
    ['/runs/r1?step=a%2Fb', '/runs/r1?step=a%2Fb'],
    ['/runs/../login', '/login'],
    [undefined, '/'],
    ['', '/'],
    ['runs', '/'],
    ['https://evil.example/', '/'],
    ['//evil.example/', '/'],
    ['/\\evil.example/', '/'],
    ['/\t/evil.example/', '/'],
    ['/\n//evil.example', '/'],
    ['javascript:alert(1)', '/'],
    ['/.//evil.example', '/'],
  ];

  it.each(PATHS)('turns %j into the path %j', (next, path) => {
    expect(localPath(next)).toBe(path);
  });
});
