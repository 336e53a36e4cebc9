/** Writes a job's lines to Redis in portions. It waits while Redis is away, and its memory is bounded. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { JobLineStream } from '../../runs/job.ts';
import type { JobLine } from '../store/job-store.ts';
import { retry } from './retry.ts';

export interface OutputWriter {
  /** Resolves as soon as there is space for more. */
  write(stream: JobLineStream, lines: readonly string[]): Promise<void>;
  /** Resolves when everything is stored, or `signal` has aborted. */
  end(): Promise<void>;
}

interface OutputWriterOptions {
  append(lines: readonly JobLine[]): Promise<unknown>;
  now(): number;
  /** Ends the waiting for Redis. Lines that are not stored by then are lost. */
  signal: AbortSignal;
}

const LINES_AT_ONCE = 256;
const GATHER_MS = 50;
const MAX_WAITING_LINES = 4_096;

export function createOutputWriter({ append, now, signal }: OutputWriterOptions): OutputWriter {
  const waiting: JobLine[] = [];
  let writing: Promise<void> | null = null;

  async function writeAll(): Promise<void> {
    await sleep(GATHER_MS);
    while (waiting.length > 0 && !signal.aborted) {
      const portion = waiting.slice(0, LINES_AT_ONCE);
      // Nothing more is sent once the waiting is over, even if a pause of `retry` ends then.
      await retry(async () => (signal.aborted ? undefined : append(portion)), signal).then(
        () => waiting.splice(0, portion.length),
        () => undefined,
      );
    }
    if (signal.aborted) waiting.length = 0;
  }

  function start(): Promise<void> {
    writing ??= writeAll().finally(() => {
      writing = null;
    });
    return writing;
  }

  return {
    async write(stream, lines) {
      const at = now();
      for (const line of lines) waiting.push({ at, stream, line });
      const written = start();
      if (waiting.length >= MAX_WAITING_LINES) await written;
    },
    async end() {
      while (waiting.length > 0 || writing) await start();
    },
  };
}
