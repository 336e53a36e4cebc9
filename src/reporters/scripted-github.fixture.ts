/** For tests: a local GitHub that keeps commit statuses and misbehaves by script. */

import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

interface SeenStatus {
  sha: string;
  state: string;
  description: string;
  targetUrl: string;
  context: string;
  headers: IncomingHttpHeaders;
  at: number;
}

/** Answers one request. `accept` stores the status and answers 201, as GitHub does. */
export type Behaviour = (response: ServerResponse, accept: () => void) => unknown;

export interface ScriptedGitHub {
  apiUrl: string;
  /** Used one by one. After the last one every status is accepted. */
  script: Behaviour[];
  /** If it is set, the answer to every request that the script does not cover. */
  always: Behaviour | null;
  /** Every request, in order. */
  seen: SeenStatus[];
  /** The last status of each commit. */
  standing: Map<string, string>;
  /** The most requests at the same time. */
  maxAtOnce: number;
  close(): Promise<void>;
}

export async function startScriptedGitHub(clock: () => number = Date.now): Promise<ScriptedGitHub> {
  let atOnce = 0;
  const server = createServer(async (request, response) => {
    github.maxAtOnce = Math.max(github.maxAtOnce, ++atOnce);
    response.on('close', () => atOnce--);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = JSON.parse(Buffer.concat(chunks).toString());
    const sha = request.url?.match(/^\/repos\/acme\/platform\/statuses\/(\w+)$/)?.[1] ?? `? ${request.url}`;
    const { state, description, context, target_url: targetUrl } = body;
    github.seen.push({ sha, state, description, context, targetUrl, headers: request.headers, at: clock() });
    function accept() {
      github.standing.set(sha, `${state}: ${description}`);
      answer(201, { state, description, context })(response, accept);
    }
    const behaviour = github.script.shift() ?? github.always;
    if (behaviour) behaviour(response, accept);
    else accept();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const github: ScriptedGitHub = {
    apiUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    script: [],
    always: null,
    seen: [],
    standing: new Map(),
    maxAtOnce: 0,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
  return github;
}

export function answer(status: number, body: unknown, headers: Record<string, string> = {}): Behaviour {
  return (response) => {
    response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers });
    response.end(JSON.stringify(body));
  };
}

export const html: (status: number) => Behaviour = (status) => (response) => {
  response.writeHead(status, { 'content-type': 'text/html' }).end('<html><h1>Unicorn!</h1></html>');
};

export const hang: Behaviour = () => {};

export const reset: Behaviour = (response) => {
  response.socket?.resetAndDestroy();
};

export const truncated: Behaviour = (response) => {
  response.writeHead(201, { 'content-type': 'application/json' }).end('{"state":"succ');
};

/** Promises more bytes than it sends, then cuts the connection. */
export const cut: Behaviour = (response) => {
  response.writeHead(201, { 'content-type': 'application/json', 'content-length': '500' });
  response.write('{"state":"succ', () => response.socket?.destroy());
};
