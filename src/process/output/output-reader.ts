/** Reads one output pipe of a child, also when an escaped process keeps the pipe open for ever. */

import type { Readable } from 'node:stream';

/** How long, all in all, output is waited for once `closeSoon` was called. */
const ESCAPED_WAIT_MS = 300;
/** How much is still read then: more than the kernel can hold of what was written before. */
const ESCAPED_MAX_BYTES = 1024 * 1024;
const TICK_MS = 20;

export interface OutputReader {
  /** Resolves at the end of the output; never rejects. */
  finished: Promise<void>;
  /**
   * To be called when all known writers have ended. What they wrote lies in the pipe and comes without
   * waiting, so only time spent waiting counts; a slow `onChunk` loses nothing.
   */
  closeSoon(): void;
}

/** `onChunk` must not throw; the next chunk is read when its promise has resolved. */
export function readOutput(stream: Readable, onChunk: (chunk: Buffer) => Promise<void>): OutputReader {
  let busy = false;
  let ended = false;
  let remainingBytes = Number.POSITIVE_INFINITY;
  let ticker: NodeJS.Timeout | undefined;

  async function read(): Promise<void> {
    try {
      for await (const chunk of stream) {
        busy = true;
        await onChunk(chunk);
        busy = false;
        remainingBytes -= chunk.length;
        if (remainingBytes < 0) break;
      }
    } catch {
      // The pipe was destroyed below, or broke: either way there is no more output.
    }
    ended = true;
    clearInterval(ticker);
  }

  return {
    finished: read(),
    closeSoon() {
      remainingBytes = ESCAPED_MAX_BYTES;
      if (ended) return;
      let waitedMs = 0;
      ticker = setInterval(() => {
        if (!busy) waitedMs += TICK_MS;
        if (waitedMs >= ESCAPED_WAIT_MS) stream.destroy();
      }, TICK_MS);
    },
  };
}
