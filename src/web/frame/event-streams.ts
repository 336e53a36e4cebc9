/** Event streams (text/event-stream): how many may be open and for how long, and how all of them end. */

import type { Context } from 'hono';
import { streamSSE } from 'hono/streaming';
import type { Access } from '../access/access.ts';
import { createStreamSeats } from '../doors/stream-seats.ts';
import { jsonError } from './error-answer.ts';

export type SseStream = Parameters<Parameters<typeof streamSSE>[1]>[0];

export interface EventStreamsOptions {
  access: Pick<Access, 'addressOf'>;
  /** How many may be open at once; others are answered 503. Default 200. */
  maxStreams?: number | undefined;
  /** After this time the client has to come back, and to show that it may still read. */
  maxStreamMs: number;
  /** Called when a stream broke off because of an error. */
  onError?: ((error: unknown) => void) | undefined;
}

export interface EventStreams {
  /** Answers with a stream that `serve` writes. `link` is the run that a signed link opens, or null. */
  open(c: Context, link: string | null, serve: (stream: SseStream) => Promise<void>): Response;
  /** Ends all streams at shutdown and opens no more. Clients come back with Last-Event-ID. */
  close(): void;
}

export const MAX_STREAMS = 200;

export function createEventStreams(options: EventStreamsOptions): EventStreams {
  const { access, maxStreams = MAX_STREAMS, maxStreamMs, onError = () => {} } = options;
  const seats = createStreamSeats(access, maxStreams);
  const open = new Set<SseStream>();
  let isClosing = false;

  async function keep(stream: SseStream, serve: (stream: SseStream) => Promise<void>): Promise<void> {
    open.add(stream);
    const expiry = setTimeout(() => stream.abort(), maxStreamMs).unref();
    try {
      if (!isClosing) await serve(stream);
    } finally {
      clearTimeout(expiry);
      open.delete(stream);
    }
  }

  return {
    open(c, link, serve) {
      const free = isClosing ? null : seats.take(c, link);
      if (free === null) return jsonError(c, 503, 'Too many open streams.');
      // Nobody would read the stream of a HEAD request, so it would never end.
      if (c.req.method === 'HEAD') {
        free();
        return c.body(null, 200, { 'Content-Type': 'text/event-stream' });
      }
      c.header('X-Accel-Buffering', 'no');
      return streamSSE(
        c,
        (stream) => keep(stream, serve).finally(free),
        // The client comes back and asks again from its last line. The error must not reach it, because it may describe the server.
        async (error, stream) => {
          stream.abort();
          onError(error);
        },
      );
    },
    close() {
      isClosing = true;
      for (const stream of open) stream.abort();
    },
  };
}

/** The number of the last event that the client has seen, 0 for none, or null when it is not a number. */
export function lastEventId(c: Context): number | null {
  const given = c.req.header('Last-Event-ID') ?? c.req.query('after') ?? '0';
  return /^\d{1,15}$/.test(given) ? Number(given) : null;
}

/** One message. JSON has no line breaks of its own, so `data` is always one line. */
export function sseMessage(name: string, data: object, id?: number): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
