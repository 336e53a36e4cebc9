/** A proxy in front of a server. It breaks the first event stream, and then answers by itself for a while. */

import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';

type Answer = 'broken' | 'whole' | number;

/**
 * The first stream ends after its first bytes. The next requests get these states, and all later ones the server's
 * answer.
 */
export async function startBreakingProxy(target: string, states: readonly number[]) {
  const left = [...states];
  const answers: Answer[] = [];

  function forward(incoming: IncomingMessage, response: ServerResponse, isBroken: boolean): void {
    const { method, headers, url = '/' } = incoming;
    const outgoing = request(new URL(url, target), { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      if (isBroken) answer.once('data', (chunk) => response.write(chunk, () => response.destroy()));
      else answer.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
    incoming.pipe(outgoing);
  }

  const server = createServer((incoming, response) => {
    if (!incoming.url?.includes('/events')) return forward(incoming, response, false);
    const state = answers.length === 0 ? undefined : left.shift();
    const answer = state ?? (answers.length === 0 ? 'broken' : 'whole');
    answers.push(answer);
    if (state === undefined) return forward(incoming, response, answer === 'broken');
    response.writeHead(state).end('The server is away.');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    answers: () => [...answers],
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
