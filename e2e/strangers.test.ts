/**
 * Requests with strangers' addresses and from strangers' pages: the server fetches, believes and does nothing for
 * them.
 */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redirect } from './support/github-misbehaviour.ts';
import { commitChange, writeGatedService } from './support/platform-services.ts';
import { buildPushPayload } from './support/push-payload.ts';
import { pushRun } from './support/pushed-run.ts';
import { openRaw } from './support/raw-http.ts';
import { acceptedRun } from './support/run-actions.ts';
import { API_TOKENS, WEBHOOK_SECRET } from './support/runner-environment.ts';
import { openGate, shareStage } from './support/shared-stage.ts';
import { signBody } from './support/webhook-sender.ts';

const shared = shareStage('strangers', () => ({ PUBLIC_URL: undefined, INTERNAL_DOMAIN: undefined }));

/** Counts all connections. */
async function startCanary() {
  let connections = 0;
  const server = createServer((_request, response) => response.end('{}'));
  server.on('connection', () => {
    connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    connections: () => connections,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}

let canary: Awaited<ReturnType<typeof startCanary>>;
beforeAll(async () => {
  canary = await startCanary();
});
afterAll(() => canary.close());

/** Every address in the payload leads elsewhere, in turn to the canary, to a file, and to a cloud's metadata. */
function withAddresses(value: unknown, elsewhere: () => string): unknown {
  if (Array.isArray(value)) return value.map((item) => withAddresses(item, elsewhere));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).map(([key, inner]) => {
    const isAddress = typeof inner === 'string' && /(^|_)url$|^compare$/.test(key);
    return [key, isAddress ? elsewhere() : withAddresses(inner, elsewhere)];
  });
  return Object.fromEntries(entries);
}

describe('Addresses in a signed payload', () => {
  it('F14: are never opened: git and GitHub use the configured addresses', async () => {
    const { stage, runner } = shared();
    const commit = await commitChange(stage.repository, ['platform/redis'], 'Addresses');
    const refUpdate = await stage.repository.push();
    const repository = { path: stage.repository.path, fullName: stage.github.fullName };
    const places = [`${canary.url}/acme/platform`, 'file:///etc/passwd', 'http://169.254.169.254/latest'];
    let turn = 0;
    const payload = withAddresses(await buildPushPayload({ repository, ...refUpdate }), () => {
      turn += 1;
      return places[turn % places.length] ?? '';
    });
    expect(JSON.stringify(payload).split(canary.url).length).toBeGreaterThan(10);
    const url = `${runner.url}/webhook`;
    const delivery = await stage.github.deliver({ url, secret: WEBHOOK_SECRET, event: 'push', payload });
    await runner.waitForRun(acceptedRun(delivery), 'succeeded');
    await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
    expect(canary.connections()).toBe(0);
  });

  it('F14: do not lead to another host: a redirect of the API is not followed, and the token stays here', async () => {
    const { stage, runner } = shared();
    stage.github.misbehave({ how: redirect(`${canary.url}/repos`), times: 2, method: 'POST' });
    const commit = await commitChange(stage.repository, ['platform/redis'], 'Redirect');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
    expect(canary.connections()).toBe(0);
  });
});

describe('Forwarded headers', () => {
  const FORGED = {
    'x-forwarded-for': '127.0.0.1',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-proto': 'https',
    'x-real-ip': '127.0.0.1',
    forwarded: 'for=127.0.0.1;host=evil.example;proto=https',
    'x-original-url': '/runs',
  };

  it('F14b: never appear in a link, and neither does Host', async () => {
    const { stage, runner } = shared();
    const commit = await commitChange(stage.repository, ['platform/redis'], 'Forwarded');
    const refUpdate = await stage.repository.push();
    const repository = { path: stage.repository.path, fullName: stage.github.fullName };
    const body = JSON.stringify(await buildPushPayload({ repository, ...refUpdate }));
    const headers = {
      ...FORGED,
      host: 'evil.example',
      connection: 'close',
      'content-type': 'application/json',
      'content-length': `${Buffer.byteLength(body)}`,
      'x-github-event': 'push',
      'x-github-delivery': 'forwarded-1',
      'x-hub-signature-256': signBody(WEBHOOK_SECRET, body),
    };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const connection = await openRaw(runner.url);
    await connection.write(`POST /webhook HTTP/1.1\r\n${lines.join('')}\r\n${body}`);
    const answer = await connection.answer;
    expect(answer?.status).toBe(200);
    expect(JSON.stringify(answer?.body)).not.toContain('evil');
    await runner.waitForRun(acceptedRun({ status: 200, body: answer?.body }), 'succeeded');
    await stage.github.statuses.waitFor({ sha: commit, state: 'success' });
    for (const { targetUrl } of stage.github.statuses.history(commit)) {
      expect(targetUrl).toMatch(/^http:\/\/localhost:\d+\/runs\//);
    }
  });

  it('F14b: open nothing, and cannot add a header to an answer', async () => {
    const { runner } = shared();
    for (const path of ['/runs', '/deliveries']) {
      const response = await fetch(runner.url + path, { headers: { ...FORGED, accept: 'application/json' } });
      expect([path, response.status]).toEqual([path, 401]);
    }
    const connection = await openRaw(runner.url);
    await connection.write(
      'GET /runs HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: evil\r\n Set-Cookie: x=1\r\n\r\n',
    );
    const answer = await connection.answer;
    expect(answer?.status).toBeGreaterThanOrEqual(400);
    expect(JSON.stringify([...(answer?.headers ?? [])])).not.toMatch(/evil|x=1/);
    connection.socket.destroy();
  });
});

describe('Requests from pages of strangers', () => {
  it('F13: change nothing: a cookie alone is not enough, and GET does nothing', async () => {
    const { stage, runner } = shared();
    await writeGatedService(stage.repository, 'platform/06.gated', 'forgery');
    const { runId } = await pushRun(stage, runner);
    await stage.journal.waitForStart('platform/gated');
    const signedIn = await fetch(`${runner.url}/login`, {
      method: 'POST',
      body: new URLSearchParams({ token: API_TOKENS.operator }),
      redirect: 'manual',
    });
    const setCookie = signedIn.headers.get('set-cookie') ?? '';
    expect(setCookie).toMatch(/HttpOnly/i);
    expect(setCookie).toMatch(/SameSite=Lax/i);
    const cookie = setCookie.split(';')[0] ?? '';
    const form = 'application/x-www-form-urlencoded';
    const forgeries: [headers: Record<string, string>, method: string, refused: number[]][] = [
      [{ cookie, origin: 'https://evil.example', 'content-type': form }, 'POST', [403]],
      [{ cookie, origin: 'null', 'content-type': form }, 'POST', [403]],
      [{ cookie, 'sec-fetch-site': 'cross-site', 'content-type': 'text/plain' }, 'POST', [403]],
      [{ cookie, 'sec-fetch-site': 'same-site', 'content-type': form }, 'POST', [403]],
      [{ cookie }, 'POST', [403]],
      [{ origin: 'https://evil.example' }, 'POST', [401]],
      [{ cookie }, 'GET', [404, 405]],
      [{ authorization: `Bearer ${API_TOKENS.operator}` }, 'GET', [404, 405]],
    ];
    const actions = [`/runs/${runId}/cancel`, `/runs/${runId}/retry`, '/deliveries/1/replay'];
    for (const path of actions) {
      for (const [headers, method, refused] of forgeries) {
        const response = await fetch(runner.url + path, { method, headers, redirect: 'manual' });
        expect(refused, `${method} ${path} ${JSON.stringify(headers)}`).toContain(response.status);
      }
    }
    // A session may ask for a sync, but only from one of our pages.
    for (const [path, refused] of [
      ['/webhook', 401],
      ['/sync', 403],
    ] as const) {
      const headers = { cookie, 'content-type': 'application/json' };
      const response = await fetch(runner.url + path, { method: 'POST', headers, body: '{"all":true}' });
      expect([path, response.status]).toEqual([path, refused]);
    }
    expect((await runner.getJson(`/runs/${runId}`)).body).toMatchObject({
      state: 'running',
      cancel_requested_by: null,
    });
    await openGate(stage, 'forgery');
    await runner.waitForRun(runId, 'succeeded');
  });
});
