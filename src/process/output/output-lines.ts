/** Turns the output of a command into masked lines of limited length, and leaves out the middle of a long output. */

import { MEBIBYTE } from '../../units.ts';
import { createHeadAndTail, type LeftOut } from './head-and-tail.ts';
import { createLineSplitter } from './lines.ts';
import { createRedactor } from './redact.ts';

type Stream = 'stdout' | 'stderr';

export interface OutputLimits {
  /** They are masked in the output in every common encoding. Secrets of less than six characters are ignored. */
  secrets?: Iterable<string> | undefined;
  /** Default 16 KiB. */
  maxLineBytes?: number | undefined;
  /** For stdout and stderr together. The middle of a longer output is left out. Default 64 MiB. */
  maxOutputBytes?: number | undefined;
}

interface OutputLines {
  /** Returns the lines that this chunk completes. */
  push(stream: Stream, chunk: Uint8Array): string[];
  /** Returns the line that reports a part which somebody else has left out here. */
  leaveOut(leftOut: LeftOut): string[];
  /** Returns the last lines, in order. Call it after the end of both streams. */
  finish(): { stream: Stream; lines: string[] }[];
}

export const MAX_OUTPUT_BYTES = 64 * MEBIBYTE;

export function createOutputLines(limits: OutputLimits): OutputLines {
  const splitterOptions = {
    redact: createRedactor(limits.secrets ?? []),
    maxLineBytes: limits.maxLineBytes,
  };
  const splitters = {
    stdout: createLineSplitter(splitterOptions),
    stderr: createLineSplitter(splitterOptions),
  };
  const bounded = createHeadAndTail(limits.maxOutputBytes ?? MAX_OUTPUT_BYTES);

  /** Also drops an unfinished line before the gap, because the cut may be inside a secret. */
  function leaveOut({ bytes, lines, streams }: LeftOut): string[] {
    for (const stream of streams) splitters[stream] = createLineSplitter(splitterOptions);
    return [`[${lines} lines of output left out here, ${bytes} bytes]`];
  }

  return {
    push: (stream, chunk) => splitters[stream].push(bounded.push(stream, chunk)),
    leaveOut,
    finish() {
      const { leftOut, chunks } = bounded.finish();
      const said: { stream: Stream; lines: string[] }[] = [];
      if (leftOut) said.push({ stream: 'stdout', lines: leaveOut(leftOut) });
      for (const { stream, chunk } of chunks) said.push({ stream, lines: splitters[stream].push(chunk) });
      for (const stream of ['stdout', 'stderr'] as const) {
        said.push({ stream, lines: splitters[stream].end() });
      }
      return said.filter(({ lines }) => lines.length > 0);
    },
  };
}
