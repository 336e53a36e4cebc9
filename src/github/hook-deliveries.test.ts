import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type FailedDeliveries, readFailedDeliveries } from './hook-deliveries.ts';

const TOKEN = 'ghp_CANARY0123456789';
const HOOK_URL = 'https://iac.example.com/webhook';
const NOON = Date.parse('2026-03-01T12:00:00Z');

type Answer = { status?: number; body: unknown; headers?: Record<string, string> };

/** A GitHub that answers by path and query, and keeps the requests. */
async function startGitHub(
  answer: (url: string) => Answer,
): Promise<{ failedDeliveries(since: number): Promise<FailedDeliveries>; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const url = request.url ?? '';
    asked.push(`${url} ${request.headers.authorization}`);
    const { status = 200, body, headers } = answer(url);
    response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers });
    response.end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const apiUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const repository = { owner: 'acme', repo: 'platform' };
  const options = { apiUrl, token: TOKEN, version: '1', repository, hookUrl: HOOK_URL };
  return { failedDeliveries: (since) => readFailedDeliveries(options, since), asked };
}

function attempt(guid: string, status_code: number, minutesAgo: number, event = 'push'): object {
  return { guid, status_code, event, delivered_at: new Date(NOON - minutesAgo * 60_000).toISOString() };
}

const HOOKS = [
  { id: 1, config: { url: 'https://elsewhere.example/webhook' } },
  { id: 2, config: {} },
  { id: 3, config: { url: 'HTTPS://IAC.example.com:443/webhook' } },
];

describe('failedDeliveries', () => {
  it('F11: returns the deliveries of which no try has arrived, with the last answer that GitHub got', async () => {
    const { failedDeliveries, asked } = await startGitHub((url) => {
      if (url.includes('/hooks?')) return { body: HOOKS };
      if (url.includes('cursor=older')) return { body: [attempt('c', 0, 90), attempt('old', 500, 6_000)] };
      const link =
        '<https://evil.example/hooks/3/deliveries?cursor=older&per_page=100>; rel="next", <https://evil.example>; rel="prev"';
      const body = [attempt('a', 200, 1), attempt('b', 502, 2), attempt('b', 0, 3), attempt('a', 503, 4)];
      return { body, headers: { link } };
    });
    expect(await failedDeliveries(NOON - 3 * 86_400_000)).toEqual({
      kind: 'ok',
      failed: [
        { deliveryId: 'b', event: 'push', statusCode: 502, deliveredAt: NOON - 120_000 },
        { deliveryId: 'c', event: 'push', statusCode: 0, deliveredAt: NOON - 5_400_000 },
      ],
    });
    expect(asked).toEqual([
      `/repos/acme/platform/hooks?per_page=100&page=1 token ${TOKEN}`,
      `/repos/acme/platform/hooks/3/deliveries?per_page=100 token ${TOKEN}`,
      `/repos/acme/platform/hooks/3/deliveries?per_page=100&cursor=older token ${TOKEN}`,
    ]);
  });

  it('reads all webhooks before it says that none is ours', async () => {
    const others = Array.from({ length: 100 }, (_, id) => ({ id, config: { url: 'https://x.example' } }));
    const { failedDeliveries, asked } = await startGitHub((url) => ({
      body: url.endsWith('&page=1') ? others : [],
    }));
    expect(await failedDeliveries(0)).toEqual({ kind: 'no_hook' });
    expect(asked).toHaveLength(1 + 1);
  });

  it('gives up a list of webhooks that does not end', async () => {
    const link = '<https://evil.example>; rel="next"';
    const { failedDeliveries, asked } = await startGitHub(() => ({ body: [], headers: { link } }));
    const problem = "GitHub's answer has another form, or does not end.";
    expect(await failedDeliveries(0)).toEqual({ kind: 'unavailable', problem });
    expect(asked).toHaveLength(300);
  });

  it.each<[string, Answer, object]>([
    [
      '404',
      { status: 404, body: { message: 'Not Found' } },
      { kind: 'not_allowed', problem: 'HTTP 404: Not Found' },
    ],
    ['403', { status: 403, body: { message: 'Resource not accessible' } }, { kind: 'not_allowed' }],
    ['a rate limit', { status: 403, body: {}, headers: { 'retry-after': '60' } }, { kind: 'unavailable' }],
    [
      '401',
      { status: 401, body: { message: `Bad ${TOKEN}` } },
      { kind: 'unavailable', problem: 'HTTP 401: Bad ***' },
    ],
    ['500', { status: 500, body: {} }, { kind: 'unavailable' }],
    [
      'a redirect',
      { status: 302, body: {}, headers: { location: 'https://evil.example' } },
      { kind: 'unavailable' },
    ],
    ['nonsense', { body: { hooks: 7 } }, { kind: 'unavailable' }],
  ])('returns a result for %s and does not throw', async (_title, answer, expected) => {
    const { failedDeliveries } = await startGitHub(() => answer);
    expect(await failedDeliveries(0)).toMatchObject(expected);
  });
});
