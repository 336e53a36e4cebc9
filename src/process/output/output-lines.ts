/** Turns the output of a command into masked, bounded lines; of a long one, the first and the last. */

import { createHeadAndTail, type LeftOut } from './head-and-tail.ts';
import { createLineSplitter } from './lines.ts';
import { createRedactor } from './redact.ts';

type Stream = 'stdout' | 'stderr';

export interface OutputLimits {
  /** Masked in the output in every common encoding; shorter than six characters are ignored. */
  secrets?: Iterable<string> | undefined;
  /** Default 16 KiB. */
  maxLineBytes?: number | undefined;
  /** Of stdout and stderr together; default 64 MiB. Of more, the middle is left out. */
  maxOutputBytes?: number | undefined;
}

export interface OutputLines {
  /** The lines that this chunk completes. */
  push(stream: Stream, chunk: Uint8Array): string[];
  /** The line that says what somebody else has left out here. */
  leaveOut(leftOut: LeftOut): string[];
  /** What is still to be said after the end of both streams, in order. */
  finish(): { stream: Stream; lines: string[] }[];
}

export const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

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

  /** A line unfinished before the gap goes with it: its cut might go through a secret. */
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
