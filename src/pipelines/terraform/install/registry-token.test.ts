import { createServer, type RequestListener } from 'node:http';
import { expect, it, onTestFinished } from 'vitest';
import { fetchRegistryToken } from './registry-token.ts';

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
}

const request = { signal: new AbortController().signal, timeoutMs: 5_000 };

it('fetchRegistryToken fetches the token, also by a redirect on the same host', async () => {
  const asked: string[] = [];
  const url = await serve(({ url: path = '' }, response) => {
    asked.push(path);
    if (path.startsWith('/base')) response.writeHead(302, { Location: '/token' }).end();
    else response.end('{"token":"tok-1","expires":3}');
  });
  expect(await fetchRegistryToken(`${url}/base`, request)).toEqual({ token: 'tok-1' });
  expect(asked).toEqual(['/base/api/internal/registry-token', '/token']);
});

it.each<[problem: RegExp, answer: RequestListener]>([
  [/answered 500/, (_, response) => response.writeHead(500).end('{"token":"tok-1"}')],
  [/answered 404/, (_, response) => response.writeHead(404).end()],
  [/without a token/, (_, response) => response.end('<html>')],
  [/without a token/, (_, response) => response.end('{"token":""}')],
  [/without a token/, (_, response) => response.end('{"token":12345678}')],
  [/without a token/, (_, response) => response.end(JSON.stringify({ token: 'a\nb' }))],
  [/more than 65536 bytes/, (_, response) => response.end(`{"token":"a","x":"${'y'.repeat(70_000)}"}`)],
  [/without end/, (_, response) => response.writeHead(302, { Location: '/again' }).end()],
  [/another host/, (_, response) => response.writeHead(302, { Location: 'https://evil.test/' }).end()],
  [/answered 302/, (_, response) => response.writeHead(302).end()],
  [/another host/, (_, response) => response.writeHead(307, { Location: 'http://[' }).end()],
  [/cannot be reached/, (_, response) => response.destroy()],
])('goes without, saying %s', async (problem, answer) => {
  const result = await fetchRegistryToken(await serve(answer), request);
  expect(result).toEqual({ problem: expect.stringMatching(problem) });
});

it('F14: fetchRegistryToken does not ask another host, whatever a redirect says', async () => {
  let asked = 0;
  const canary = await serve((_, response) => {
    asked += 1;
    response.end('{"token":"theirs"}');
  });
  const url = await serve((_, response) => response.writeHead(302, { Location: canary }).end());
  expect(await fetchRegistryToken(url, request)).toEqual({
    problem: expect.stringContaining('another host'),
  });
  expect(asked).toBe(0);
});

it('fetchRegistryToken does not wait without end, nor for a run that has ended', async () => {
  const silent = await serve(() => undefined);
  const problem = await fetchRegistryToken(silent, { ...request, timeoutMs: 200 });
  expect(problem).toEqual({ problem: expect.stringMatching(/did not answer within 0.2 s/) });
  const slow = await serve((_, response) => void response.write('{'));
  expect(await fetchRegistryToken(slow, { ...request, timeoutMs: 200 })).toEqual({
    problem: expect.any(String),
  });
  const over = await fetchRegistryToken(silent, { signal: AbortSignal.abort() });
  expect(over).toEqual({ problem: 'The run was ended.' });
  expect(await fetchRegistryToken('http://127.0.0.1:1', request)).toEqual({
    problem: expect.stringMatching(/cannot be reached: /),
  });
});
