/** Reads the log of one step from any line on, chunk by chunk, and lets other requests have their turn meanwhile. */

import { createPauses } from '../../event-loop.ts';
import type { LogChunk } from '../../runs/projections/log-lines.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { plainLine, type Span, styledLine } from '../frame/ansi.ts';
import { rfc3339 } from '../frame/format.ts';

export type LogReader = Pick<RunStore, 'steps' | 'events' | 'eventsOf' | 'logTotals' | 'logChunks'>;

/** Lines of one step, from `from` to `to`. */
export interface LineRange {
  runId: string;
  step: string;
  from: number;
  to: number;
}

/** A chunk that was cut to the lines of a range. */
export interface ReadChunk extends LogChunk {
  /** The sequence number of the chunk before it, or null if it is the first of its step or the first that was read. */
  previousSeq: number | null;
}

/** About as much text is in memory at once, and is read without a pause. */
const CHARACTERS_PER_READ = 256 * 1024;
/** Short, because other requests may be read at the same time. */
const TURN_MS = 5;
/** A longer line is cut on the page, because browsers take long to show it. */
const SHOWN_CHARACTERS = 4_000;

const ERROR_WORDS = /\b(?:error|errors|fatal|failed|failure|exception|traceback|panic)\b/i;

/** Yields the lines of the range that are stored now. Ends early once `signal` is aborted. */
export async function* readChunks(
  store: Pick<LogReader, 'logChunks'>,
  { runId, step, from, to }: LineRange,
  signal?: AbortSignal,
): AsyncGenerator<ReadChunk, void> {
  const pause = createPauses(TURN_MS);
  let previousSeq: number | null = null;
  // With the line before, the chunk before is read too if another chunk begins at the first line.
  for (let next = Math.max(1, from - 1); next <= to; ) {
    const page = { step, from: next, to, characters: CHARACTERS_PER_READ };
    const chunks = await store.logChunks(runId, page);
    const unread = chunks.filter(({ firstLine, lines }) => firstLine + lines.length > next);
    if (unread.length === 0) return;
    for (const chunk of unread) {
      await pause();
      if (signal?.aborted) return;
      const firstLine = Math.max(chunk.firstLine, from);
      const lines = chunk.lines.slice(firstLine - chunk.firstLine, to - chunk.firstLine + 1);
      const isWhole = firstLine === chunk.firstLine;
      if (lines.length > 0) {
        yield { ...chunk, firstLine, lines, previousSeq: isWhole ? previousSeq : null };
      }
      previousSeq = chunk.seq;
      next = chunk.firstLine + chunk.lines.length;
    }
  }
}

/** A line as programs get it. */
export interface PlainLogLine {
  number: number;
  /** RFC 3339. Lines that were printed within a tenth of a second have one time. */
  at: string | null;
  text: string;
}

/** A line as the script of the page shows it. */
export interface StyledLogLine extends Omit<PlainLogLine, 'text'> {
  stream: LogChunk['stream'];
  spans: Span[];
  /** True for the first line after the step was started again. */
  again?: true;
}

/** Returns the line at this place of the chunk. */
export function plainLogLine({ firstLine, at, lines }: LogChunk, index: number): PlainLogLine {
  return { number: firstLine + index, at: rfc3339(at), text: plainLine(lines[index] ?? '') };
}

/** `starts` are the sequence numbers of the starts of the step. */
export function styledLogLine(
  { firstLine, seq, previousSeq, at, stream, lines }: ReadChunk,
  index: number,
  starts: readonly number[],
): StyledLogLine {
  const isAgain =
    index === 0 && previousSeq !== null && starts.some((start) => start > previousSeq && start < seq);
  const line = { number: firstLine + index, at: rfc3339(at), stream, spans: shownSpans(lines[index] ?? '') };
  return isAgain ? { ...line, again: true } : line;
}

function shownSpans(line: string): Span[] {
  if (line.length <= SHOWN_CHARACTERS) return styledLine(line);
  const rest = line.length - SHOWN_CHARACTERS;
  const note = ` … ${rest.toLocaleString('en-US')} more characters are in the log as text`;
  return [...styledLine(line.slice(0, SHOWN_CHARACTERS)), { text: note, classes: 'faint italic' }];
}

/** True for lines on standard error, and for those that name an error. */
export function isErrorLine({ stream, lines }: LogChunk, index: number): boolean {
  return stream === 'stderr' || ERROR_WORDS.test(plainLine(lines[index] ?? ''));
}
