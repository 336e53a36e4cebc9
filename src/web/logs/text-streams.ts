/** Long texts as the bodies of answers, made as fast as their receivers take them. */

import type { Context } from 'hono';
import { linkOf, type RunPageEnv } from '../access/access.ts';
import type { StreamSeats } from '../doors/stream-seats.ts';

const UTF8 = new TextEncoder();

/**
 * Returns the text as a body, or null while too many are being read: each open text holds a part of itself in memory,
 * however slow its receiver is, so each takes a seat.
 */
export function openText(
  c: Context<RunPageEnv>,
  seats: StreamSeats,
  parts: AsyncGenerator<string, void>,
): ReadableStream<Uint8Array> | null {
  const free = seats.take(c, linkOf(c));
  if (free === null) return null;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await parts.next();
          if (!done) return controller.enqueue(UTF8.encode(value));
          free();
          controller.close();
        } catch (error) {
          free();
          throw error;
        }
      },
      async cancel() {
        free();
        await parts.return();
      },
    },
    // Nothing is read before somebody asks for it.
    { highWaterMark: 0 },
  );
}
