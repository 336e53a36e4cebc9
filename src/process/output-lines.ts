/** Turns the output of a command into masked, bounded lines, and ends it at its limit. */

import { createLineSplitter } from './lines.ts';
import { createRedactor } from './redact.ts';

export interface OutputLimits {
  /** Masked in the output in every common encoding; shorter than six characters are ignored. */
  secrets?: Iterable<string> | undefined;
  /** Default 16 KiB. */
  maxLineBytes?: number | undefined;
  /** Of stdout and stderr together; default 64 MiB. What comes after is read and thrown away. */
  maxOutputBytes?: number | undefined;
}

export interface OutputLines {
  /** The lines that this chunk completes. */
  push(stream: 'stdout' | 'stderr', chunk: Uint8Array): string[];
  /** What is left of a stream that has ended without a newline. */
  end(stream: 'stdout' | 'stderr'): string[];
}

export const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

export function createOutputLines(limits: OutputLimits): OutputLines {
  const maxBytes = limits.maxOutputBytes ?? MAX_OUTPUT_BYTES;
  const splitterOptions = {
    redact: createRedactor(limits.secrets ?? []),
    maxLineBytes: limits.maxLineBytes,
  };
  const splitters = {
    stdout: createLineSplitter(splitterOptions),
    stderr: createLineSplitter(splitterOptions),
  };
  let remainingBytes = maxBytes;
  return {
    push(stream, chunk) {
      if (remainingBytes < 0) return [];
      const lines = splitters[stream].push(chunk.subarray(0, remainingBytes));
      remainingBytes -= chunk.length;
      // A line still unfinished then is dropped with the rest: its cut might go through a secret.
      if (remainingBytes < 0) lines.push(`[output cut after ${maxBytes} bytes; the command goes on]`);
      return lines;
    },
    end: (stream) => (remainingBytes < 0 ? [] : splitters[stream].end()),
  };
}
