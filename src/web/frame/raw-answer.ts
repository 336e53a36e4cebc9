/** Answers that no handler gives: written to the socket, which is then closed. */

import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export interface RawAnswer {
  /** Such as `408 Request Timeout`. */
  status: string;
  error: string;
  retryAfterSeconds?: number;
}

/** A socket of Node's HTTP server, with the answer that is being made on it. */
export type HttpSocket = Socket & { _httpMessage?: ServerResponse | null };

export function answerRaw(socket: HttpSocket, { status, error, retryAfterSeconds }: RawAnswer): void {
  if (!socket.writable || socket._httpMessage?.headersSent) {
    socket.destroy();
    return;
  }
  const body = JSON.stringify({ error });
  const lines = [
    `HTTP/1.1 ${status}`,
    'Connection: close',
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...(retryAfterSeconds === undefined ? [] : [`Retry-After: ${retryAfterSeconds}`]),
  ];
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`);
}
