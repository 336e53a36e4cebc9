/** Long texts as the bodies of answers, made as fast as their receivers take them. */

import type { Context } from 'hono';
import type { RunPageEnv } from '../access/guards.ts';
import type { StreamSeats } from '../doors/stream-seats.ts';

export interface TextStreams {
  /** Null while too many are being read. */
  open(c: Context<RunPageEnv>, parts: AsyncGenerator<string, void>): ReadableStream<Uint8Array> | null;
}

/** Each that is open holds a part of its text, however slow its receiver is: so each takes a seat. */
export function createTextStreams(seats: StreamSeats): TextStreams {
  const encoder = new TextEncoder();
  return {
    open(c, parts) {
      const free = seats.take(c, c.var.identity === null ? c.var.run.id : null);
      if (free === null) return null;
      return new ReadableStream<Uint8Array>(
        {
          async pull(controller) {
            try {
              const { done, value } = await parts.next();
              if (!done) return controller.enqueue(encoder.encode(value));
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
        // Nothing is read before somebody asks.
        { highWaterMark: 0 },
      );
    },
  };
}
