/** Reads one output pipe of a child, even if an escaped process keeps the pipe open. */

import type { Readable } from 'node:stream';
import { MEBIBYTE } from '../../units.ts';

/** The total time that the reader waits for output after `closeSoon`. */
const ESCAPED_WAIT_MS = 300;
/** The reader still reads so much, which is more than a pipe of the kernel contains. */
const ESCAPED_MAX_BYTES = MEBIBYTE;
const TICK_MS = 20;

interface OutputReader {
  /** Resolves at the end of the output. Never rejects. */
  finished: Promise<void>;
  /**
   * Call it when all known writers have ended. Their output is in the pipe and arrives at once. Only the time of
   * waiting counts, so a slow `onChunk` loses nothing.
   */
  closeSoon(): void;
}

/** `onChunk` must not throw. The next chunk is read when its promise has resolved. */
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
      // The pipe broke, or was destroyed below. There is no more output.
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
