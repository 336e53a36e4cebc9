/** The HTTP server around the app: time limits, plain errors for broken requests, and a close that ends. */

import type { Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { serve } from '@hono/node-server';
import type { Hono } from 'hono';
import { RunnerError } from '../errors.ts';

/** Headers and body must arrive within these; GitHub gives up after 10 s itself. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const CHECK_MS = 1_000;
/** Twice Node's own limit, so that a signature of 16 KiB is refused as a signature. */
const MAX_HEADERS_BYTES = 32 * 1024;
/** What answers are still under way at the close get this long. */
const CLOSE_GRACE_MS = 2_000;
const MAX_CONNECTIONS = 2_000;

export interface RunningServer {
  /** The port really listened on. */
  port: number;
  /** Takes no new connections, lets answers end for two seconds, then cuts what is left. */
  close(): Promise<void>;
}

/** Resolves once listening; rejects when the address cannot be had. */
export function startServer(
  app: Hono,
  { host, port }: { host: string; port: number },
): Promise<RunningServer> {
  return new Promise((resolve, reject) => {
    const server = serve({
      fetch: app.fetch,
      hostname: host,
      port,
      serverOptions: {
        headersTimeout: HEADERS_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        connectionsCheckingInterval: CHECK_MS,
        maxHeaderSize: MAX_HEADERS_BYTES,
      },
    }) as Server;
    server.maxConnections = MAX_CONNECTIONS;
    server.on('clientError', answerBroken);
    server.once('error', (cause) => reject(notListening(`${host}:${port}`, cause)));
    server.once('listening', () => {
      const address = server.address();
      resolve({
        port: typeof address === 'object' && address ? address.port : port,
        close: () => close(server),
      });
    });
  });
}

function notListening(address: string, cause: Error): RunnerError {
  return new RunnerError(`Listening on ${address} failed: ${cause.message}.`, {
    nextAction: 'Free the port, or set HOST and WEBHOOK_PORT to an address of this machine that is free.',
    cause,
  });
}

/** Requests that Node itself refuses get the same JSON errors as all others. */
function answerBroken(
  error: NodeJS.ErrnoException,
  socket: Socket & { _httpMessage?: ServerResponse },
): void {
  if (error.code === 'ECONNRESET' || !socket.writable || socket._httpMessage?.headersSent) {
    socket.destroy();
    return;
  }
  const [status, message] =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? ['408 Request Timeout', 'The request did not arrive in time']
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? ['431 Request Header Fields Too Large', 'The headers are too large']
        : ['400 Bad Request', 'The request is not valid HTTP'];
  const body = JSON.stringify({ error: message });
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const cut = setTimeout(() => server.closeAllConnections(), CLOSE_GRACE_MS);
  await closed;
  clearTimeout(cut);
}
