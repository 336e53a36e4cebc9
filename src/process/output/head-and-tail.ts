/** Limits a long output: lets its start through at once, and keeps its last part until the output ends. */

import { MEBIBYTE } from '../../units.ts';

type Stream = 'stdout' | 'stderr';

/** The part that is missing in the middle. */
export interface LeftOut {
  bytes: number;
  lines: number;
  /** The streams that the missing part belongs to. */
  streams: Stream[];
}

interface Piece {
  stream: Stream;
  chunk: Uint8Array;
}

interface Rest {
  /** Null if nothing is missing. */
  leftOut: LeftOut | null;
  /** The output after the missing part, in order. */
  chunks: Piece[];
}

export interface HeadAndTail {
  /** Returns the part of the chunk that goes through now. */
  push(stream: Stream, chunk: Uint8Array): Uint8Array;
  /** Returns the kept part. Call it once, after the end of the output. */
  finish(): Rest;
}

/** The size of the kept part, or half of the output if the limit is small. */
const TAIL_BYTES = MEBIBYTE;
/** Each chunk costs memory besides its bytes. */
const MAX_CHUNKS = 4_096;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Lets at most `maxBytes` through. The last `TAIL_BYTES` of them are the end of the output. */
export function createHeadAndTail(maxBytes: number): HeadAndTail {
  const tailBytes = Math.min(TAIL_BYTES, Math.floor(maxBytes / 2));
  let headLeft = maxBytes - tailBytes;
  const kept: Piece[] = [];
  let keptBytes = 0;
  const dropped: LeftOut = { bytes: 0, lines: 0, streams: [] };

  /** Drops this many bytes from the start of the kept part, but at most the first chunk. */
  function dropFirst(bytes: number): void {
    const [first] = kept;
    if (!first || bytes <= 0) return;
    keptBytes -= Math.min(bytes, first.chunk.length);
    dropStart(dropped, first, bytes);
    if (first.chunk.length === 0) kept.shift();
  }

  return {
    push(stream, chunk) {
      const head = chunk.subarray(0, headLeft);
      headLeft -= head.length;
      if (head.length === chunk.length) return head;
      // The bytes are copied, because the chunk may be a small part of a large buffer.
      kept.push({ stream, chunk: new Uint8Array(chunk.subarray(head.length)) });
      keptBytes += chunk.length - head.length;
      for (let [first] = kept; first !== undefined; [first] = kept) {
        if (keptBytes - first.chunk.length < tailBytes && kept.length <= MAX_CHUNKS) break;
        dropFirst(first.chunk.length);
      }
      return head;
    },
    finish() {
      dropFirst(keptBytes - tailBytes);
      if (dropped.bytes === 0) return { leftOut: null, chunks: kept };
      dropHalfLines(dropped, kept);
      return { leftOut: dropped, chunks: kept.filter(({ chunk }) => chunk.length > 0) };
    },
  };
}

/** Moves the first bytes of a piece to the part that is left out. */
function dropStart(dropped: LeftOut, piece: Piece, bytes: number): void {
  const start = piece.chunk.subarray(0, bytes);
  dropped.bytes += start.length;
  dropped.lines += countLines(start);
  if (!dropped.streams.includes(piece.stream)) dropped.streams.push(piece.stream);
  piece.chunk = piece.chunk.subarray(bytes);
}

/** Drops the rest of a line whose start is missing, because it may be a part of a secret. */
function dropHalfLines(dropped: LeftOut, kept: readonly Piece[]): void {
  for (const stream of dropped.streams) {
    for (const piece of kept.filter((one) => one.stream === stream)) {
      const end = piece.chunk.findIndex((byte) => byte === NEWLINE || byte === CARRIAGE_RETURN);
      dropStart(dropped, piece, end === -1 ? piece.chunk.length : end + 1);
      if (end !== -1) break;
    }
  }
}

function countLines(bytes: Uint8Array): number {
  let lines = 0;
  for (let at = bytes.indexOf(NEWLINE); at !== -1; at = bytes.indexOf(NEWLINE, at + 1)) lines += 1;
  return lines;
}
