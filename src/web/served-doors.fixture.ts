/** The signed doors behind a gate on a real server with the real store, and bare connections to them. */

import { createHmac, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { HttpBindings } from '@hono/node-server';
import type { Hono } from 'hono';
import { pino } from 'pino';
import { servicesNamedBy } from '../pipelines/selection/touched-paths.ts';
import { createSqliteStore } from '../stores/sqlite/sqlite-store.ts';
import { createGitHubWebhook } from '../triggers/github/github-webhook.ts';
import { createInbox } from '../triggers/github/inbox.ts';
import { createGate, type GateOptions } from './doors/gate.ts';
import { createApp } from './frame/app.ts';
import { startServer } from './frame/server.ts';

const SECRET = 'the secret of this test';

export type DoorOptions = Partial<GateOptions> & {
  stalledReaderMs?: number;
  routes?: Hono<{ Bindings: HttpBindings }>;
};

export interface Bare {
  socket: Socket;
  /** Everything that came back, once the connection has ended or an answer has started. */
  answer: Promise<string>;
  closed: Promise<void>;
}

export async function serveDoors({ routes, stalledReaderMs, ...overrides }: DoorOptions = {}) {
  const directory = await mkdtemp(path.join(tmpdir(), 'doors-'));
  const store = await createSqliteStore({ directory });
  const warnings: { fields: object; message: string }[] = [];
  const log = { warn: (fields: object, message: string) => void warnings.push({ fields, message }) };
  const gate = createGate({ trustedProxies: [], clock: () => performance.now(), log, ...overrides });
  const app = createApp({
    githubWebhook: createGitHubWebhook({
      store,
      secrets: [SECRET],
      gate,
      places: [
        {
          place: { repository: 'platform', environment: null, branch: 'main' },
          fullName: null,
          follows: { branch: 'main' },
          namedBy: async ({ paths }) => ({ services: servicesNamedBy(paths), isSure: true }),
          onBranchMoved() {},
        },
      ],
      namesEnvironments: false,
      previews: false,
      runUrl: (runId) => `http://localhost/runs/${runId}`,
      inbox: createInbox({ store, now: Date.now }),
    }),
    syncApi: (c) => c.body(null, 404),
    pages: [],
    notFound: (c) => c.body(null, 404),
    isHealthy: store.isAlive,
    readiness: async () => ({ status: 'ready', checks: {} }),
    log: pino({ level: 'silent' }),
  });
  if (routes) app.route('/', routes as unknown as Hono);
  const server = await startServer(app, {
    log,
    onFailure() {},
    host: '127.0.0.1',
    port: 0,
    gate,
    ...(stalledReaderMs !== undefined && { stalledReaderMs }),
  });
  const sockets = new Set<Socket>();

  return {
    warnings,
    gate,
    port: server.port,
    url: `http://127.0.0.1:${server.port}`,
    open: (text: string): Promise<Bare> => openBare(server.port, text, sockets),
    async close() {
      for (const socket of sockets) socket.destroy();
      await server.close();
      await store.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function openBare(port: number, text: string, sockets: Set<Socket>): Promise<Bare> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  sockets.add(socket);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const answer = new Promise<string>((resolve) => {
    socket.once('data', (chunk) => resolve(String(chunk)));
    socket.once('close', () => resolve(''));
  });
  // A reset shows in `closed`.
  socket.on('error', () => undefined);
  await new Promise<void>((resolve) => socket.write(text, () => resolve()));
  return { socket, answer, closed };
}

/** The head of a push whose signature has the right form and is wrong. */
export function wrongPushHead(length: number): string {
  return pushHead(length, '0'.repeat(64));
}

/** A ping of about `bytes` bytes, with its head. */
export function signedPing(bytes: number, lines: readonly string[] = []): string {
  const body = JSON.stringify({ zen: 'x'.repeat(bytes) });
  return (
    pushHead(Buffer.byteLength(body), createHmac('sha256', SECRET).update(body).digest('hex'), lines) + body
  );
}

function pushHead(length: number, hex: string, lines: readonly string[] = []): string {
  return [
    'POST /webhook HTTP/1.1',
    'Host: localhost',
    'Content-Type: application/json',
    'X-GitHub-Event: ping',
    `X-GitHub-Delivery: ${randomUUID()}`,
    `X-Hub-Signature-256: sha256=${hex}`,
    `Content-Length: ${length}`,
    ...lines,
    '\r\n',
  ].join('\r\n');
}
