/** The HTTP server around the app: time limits, plain errors for broken requests, and a close that ends. */

import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import type { Hono } from 'hono';
import { RunnerError } from '../../errors.ts';
import { KIBIBYTE, MINUTE, SECOND } from '../../units.ts';
import type { Gate } from '../doors/gate.ts';
import { answerRaw, type HttpSocket } from './raw-answer.ts';

/** Headers and body must arrive within these times; GitHub itself gives up after 10 s. */
const HEADERS_TIMEOUT_MS = 10 * SECOND;
const REQUEST_TIMEOUT_MS = 30 * SECOND;
const CHECK_MS = SECOND;
/**
 * This is longer than proxies keep an idle connection: Traefik 90 s, Caddy 2 minutes, load balancers of Google 10 minutes. If
 * the server closed it first, it would reset a delivery that is arriving, which the proxy cannot send a second time.
 */
const KEEP_ALIVE_MS = 620 * SECOND;
/** This is twice Node's own limit, so that a signature of 16 KiB is refused as a signature. */
const MAX_HEADERS_BYTES = 32 * KIBIBYTE;
/**
 * Errors of one connection, of the network, or of a machine that is short of something for now. After one of them the
 * next connection may be accepted.
 */
const PASSING = new Set([
  ...['EAGAIN', 'EINTR', 'ECONNABORTED', 'EPROTO', 'EPERM', 'EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM'],
  ...['ENETDOWN', 'ENETUNREACH', 'EHOSTDOWN', 'EHOSTUNREACH', 'ENOPROTOOPT', 'ENONET', 'EOPNOTSUPP'],
]);
/** If clients came, but none was accepted for this long, only a new start may help. */
const HOPELESS_MS = MINUTE;
/** If there was no error for this long, nobody tried to connect, and the time is counted from the next error. */
const QUIET_MS = 30 * SECOND;
/** Answers that are being sent when the server closes get this long. */
const CLOSE_GRACE_MS = 2 * SECOND;
const MAX_CONNECTIONS = 2_000;
/**
 * Connections that wait to be accepted. With Node's 511 a burst fills the queue, the kernel drops the next one, and its
 * client tries again a second later at the earliest. A longer queue makes everybody wait longer in a flood.
 */
const BACKLOG = 2_048;
/** A client that reads nothing of its answer for this long is cut off. */
const STALLED_READER_MS = 30 * SECOND;

export interface RunningServer {
  /** The port that it really listens on. */
  port: number;
  /** Takes no new connections, lets answers end for two seconds, then cuts off the others. */
  close(): Promise<void>;
}

export interface ServerOptions {
  host: string;
  port: number;
  gate: Pick<Gate, 'watch'>;
  stalledReaderMs?: number;
  log: { warn(fields: object, message: string): void };
  /** Called with the error after which no connection can be accepted any more. */
  onFailure(error: unknown): void;
  /** The time in ms, by a clock that never jumps. */
  clock?: () => number;
}

/** Resolves once the server listens; rejects when the address is taken or not allowed. */
export function startServer(app: Pick<Hono, 'fetch'>, options: ServerOptions): Promise<RunningServer> {
  const { host, port, gate, stalledReaderMs = STALLED_READER_MS } = options;
  return new Promise((resolve, reject) => {
    const server = createAdaptorServer({
      fetch: app.fetch,
      hostname: host,
      serverOptions: {
        headersTimeout: HEADERS_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        keepAliveTimeout: KEEP_ALIVE_MS,
        connectionsCheckingInterval: CHECK_MS,
        maxHeaderSize: MAX_HEADERS_BYTES,
      },
    }) as Server;
    server.maxConnections = MAX_CONNECTIONS;
    server.setTimeout(stalledReaderMs, (socket) => endIdle(socket, stalledReaderMs));
    gate.watch(server);
    server.on('clientError', answerBroken);
    const refuse = (cause: Error): void => reject(notListening(`${host}:${port}`, cause));
    server.once('error', refuse);
    server.once('listening', () => {
      watchAccepting(server, options);
      server.off('error', refuse);
      const address = server.address();
      resolve({
        port: typeof address === 'object' && address ? address.port : port,
        close: () => close(server),
      });
    });
    server.listen({ host, port, backlog: BACKLOG });
  });
}

function notListening(address: string, cause: Error): RunnerError {
  return new RunnerError(`Listening on ${address} failed: ${cause.message}.`, {
    nextAction: 'Free the port, or set HOST and WEBHOOK_PORT to an address of this machine that is free.',
    cause,
  });
}

/**
 * Ends a server that cannot accept connections any more, also when the machine is short of something for too long.
 */
function watchAccepting(
  server: Server,
  { log, onFailure, clock = () => performance.now() }: ServerOptions,
): void {
  let refusing: { since: number; latest: number } | null = null;
  server.on('connection', () => {
    refusing = null;
  });
  server.on('error', (err: NodeJS.ErrnoException) => {
    const now = clock();
    const isPassing = PASSING.has(err.code ?? '');
    if (refusing === null || now - refusing.latest > QUIET_MS) {
      if (isPassing) log.warn({ err }, 'connections cannot be accepted at the moment');
      refusing = { since: now, latest: now };
    }
    refusing.latest = now;
    if (!isPassing || now - refusing.since >= HOPELESS_MS) onFailure(err);
  });
}

/**
 * Cuts off a quiet connection that is between two requests or whose client reads nothing; not one that waits for us.
 */
function endIdle(socket: HttpSocket, stalledReaderMs: number): void {
  if (!socket._httpMessage || socket.writableLength > 0) socket.destroy();
  else socket.setTimeout(stalledReaderMs);
}

/** Requests that Node itself refuses get JSON errors as all others do. */
function answerBroken(error: NodeJS.ErrnoException, socket: HttpSocket): void {
  if (error.code === 'ECONNRESET') return void socket.destroy();
  const [status, message] =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? ['408 Request Timeout', 'The request did not arrive in time']
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? ['431 Request Header Fields Too Large', 'The headers are too large']
        : ['400 Bad Request', 'The request is not valid HTTP'];
  answerRaw(socket, { status, error: message });
}

async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const cut = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
  await closed;
  clearTimeout(cut);
}
