import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createChangeRequests } from './change-requests.ts';
import type { Resolve } from './outside-request.ts';

const TOKEN = 'glpat-CANARY-0123456789';
const LOCAL = [{ address: '127.0.0.1', family: 4 }];
/** A public address at which nothing answers. */
const PUBLIC = [{ address: '192.0.1.1', family: 4 }];

let server: Server;
let connections: number;
let seen: string[];
let respond: (request: IncomingMessage, response: ServerResponse) => void;
beforeEach(async () => {
  [connections, seen] = [0, []];
  respond = (request, response) => {
    const isList = request.method === 'GET' && !request.url?.includes('merge_requests');
    response.writeHead(isList ? 200 : 201, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify(isList ? { default_branch: 'main' } : { web_url: 'https://gitlab.example.com/1' }),
    );
  };
  server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers.authorization}`);
    respond(request, response);
  }).on('connection', () => {
    connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterEach(() => new Promise((resolve) => server.close(resolve).closeAllConnections()));

function open(
  resolve: Resolve,
  { hosts = [] as string[], timeoutMs = 15_000, host = 'gitlab.example.com' } = {},
) {
  const origin = `http://${host}:${(server.address() as AddressInfo).port}`;
  const openRequest = createChangeRequests({
    rules: { protocols: ['http', 'https'], hosts },
    githubApiUrl: 'https://api.github.com',
    version: '0',
    timeoutMs,
    resolve,
  });
  return openRequest({
    type: 'gitlab',
    origin,
    token: TOKEN,
    repositoryUrl: `${origin}/acme/app.git`,
    head: 'repobox/1',
    base: null,
    title: 'One',
    description: 'x'.repeat(5_000),
    signal: new AbortController().signal,
  });
}

describe('A merge request', () => {
  it('is opened at a host that the operator lists, even if its address is private', async () => {
    const opened = await open(async () => LOCAL, { hosts: ['127.0.0.1'], host: '127.0.0.1' });
    expect(opened).toEqual({ ok: true, url: 'https://gitlab.example.com/1' });
    expect(seen).toEqual([
      `GET /api/v4/projects/acme%2Fapp Bearer ${TOKEN}`,
      `POST /api/v4/projects/acme%2Fapp/merge_requests Bearer ${TOKEN}`,
    ]);
  });

  it('F14: sends nothing to a name that leads to a private address', async () => {
    const opened = await open(async () => [...PUBLIC, ...LOCAL]);
    expect(opened).toEqual({
      ok: false,
      problem: 'gitlab.example.com leads to an address that is not public.',
    });
    expect(connections).toBe(0);
  });

  it('F14: sends nothing to a name that leads to a private address when it is looked up again', async () => {
    const answers = [PUBLIC];
    const opened = await open(async () => answers.shift() ?? LOCAL, { timeoutMs: 500 });
    expect(opened.ok).toBe(false);
    expect(connections).toBe(0);
  });

  it('is not opened after a redirect or an endless answer', async () => {
    respond = (_request, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end();
    const moved = await open(async () => LOCAL, { hosts: ['127.0.0.1'], host: '127.0.0.1' });
    expect(moved).toEqual({ ok: false, problem: 'The provider answered HTTP 302.' });
    respond = (_request, response) => {
      response.writeHead(200);
      const more = () => {
        while (!response.destroyed && response.write('x'.repeat(65_536)));
      };
      response.on('drain', more);
      more();
    };
    const endless = await open(async () => LOCAL, { hosts: ['127.0.0.1'], host: '127.0.0.1' });
    expect(endless).toEqual({ ok: false, problem: 'The provider did not answer.' });
  });
});
