/** Speaks HTTP over a bare socket, to send requests that no client library would send. */

import { connect, type Socket } from 'node:net';
import { parseBody } from './webhook-sender.ts';

export interface RawAnswer {
  status: number;
  /** The names are in lower case. */
  headers: Map<string, string>;
  /** The parsed JSON, or the text if it is no JSON. */
  body: unknown;
}

export interface RawConnection {
  socket: Socket;
  /**
   * Resolves when the bytes were passed to the system. Resolves to false if the other side has closed the
   * connection.
   */
  write(data: string | Uint8Array): Promise<boolean>;
  /** The first answer, or null if the connection ended without one. */
  answer: Promise<RawAnswer | null>;
  /** Resolves when the connection has ended for any reason. */
  closed: Promise<void>;
}

/** `from` is the address of this machine to connect from, such as 127.0.0.2. */
export async function openRaw(url: string, from?: string): Promise<RawConnection> {
  const { hostname, port } = new URL(url);
  const socket = connect({
    host: hostname,
    port: Number(port),
    noDelay: true,
    ...(from !== undefined && { localAddress: from }),
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  // A reset by the other side is an answer too, and `closed` resolves.
  socket.on('error', () => undefined);
  let received = Buffer.alloc(0);
  const answer = new Promise<RawAnswer | null>((resolve) => {
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      const parsed = parseAnswer(received);
      if (parsed) resolve(parsed);
    });
    socket.once('close', () => resolve(null));
  });
  return {
    socket,
    answer,
    closed,
    write(data) {
      if (socket.destroyed) return Promise.resolve(false);
      return new Promise((resolve) => socket.write(data, (error) => resolve(!error)));
    },
  };
}

/** Sends one request, byte for byte, and returns its answer. The connection is closed afterwards. */
export async function sendRaw(url: string, request: string | Uint8Array): Promise<RawAnswer> {
  const connection = await openRaw(url);
  void connection.write(request);
  const answer = await connection.answer;
  connection.socket.destroy();
  if (!answer) throw new Error('The connection was closed without an answer.');
  return answer;
}

let posts = 0;

/**
 * Returns the bytes of a POST: these header lines in this order, Host, Content-Length, and a forwarded address of
 * its own, because the server refuses an address that fails too often. The encoding is Latin-1, as on the wire.
 */
export function rawPost(path: string, lines: readonly string[], body: string | Uint8Array): Buffer {
  const bytes = Buffer.from(body);
  posts += 1;
  const address = `X-Forwarded-For: 192.0.${posts >> 8}.${posts & 255}`;
  const head = [
    `POST ${path} HTTP/1.1`,
    'Host: localhost',
    ...lines,
    address,
    `Content-Length: ${bytes.length}`,
  ];
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), bytes]);
}

/** Returns null while the answer is incomplete. All our answers to programs have a length. */
function parseAnswer(received: Buffer): RawAnswer | null {
  const end = received.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const [first = '', ...lines] = received.toString('latin1', 0, end).split('\r\n');
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
    }),
  );
  const length = Number(headers.get('content-length') ?? Number.NaN);
  if (Number.isNaN(length)) throw new Error(`The answer has no Content-Length: ${first}`);
  const body = received.subarray(end + 4);
  if (body.length < length) return null;
  return {
    status: Number(first.split(' ')[1]),
    headers,
    body: parseBody(body.toString('utf8', 0, length)),
  };
}
