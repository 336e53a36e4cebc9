/** Answers that are written to the socket without a handler; the socket is closed after them. */

import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export interface RawAnswer {
  /** For example `408 Request Timeout`. */
  status: string;
  error: string;
  retryAfterSeconds?: number;
}

/** A socket of the HTTP server of Node, with the answer that it is sending. */
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
