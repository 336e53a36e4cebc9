/** Bounds a long output: its beginning goes through at once, its end is kept until it is known to be the end. */

type Stream = 'stdout' | 'stderr';

/** What is missing in the middle. */
export interface LeftOut {
  bytes: number;
  lines: number;
  /** Those whose line before the gap has no end, and whose next one begins after it. */
  streams: Stream[];
}

interface Rest {
  /** Null when nothing is missing. */
  leftOut: LeftOut | null;
  /** What comes after it, in order. */
  chunks: { stream: Stream; chunk: Uint8Array }[];
}

export interface HeadAndTail {
  /** What of this chunk goes through now. */
  push(stream: Stream, chunk: Uint8Array): Uint8Array;
  /** To be called once, after the end of the output. */
  finish(): Rest;
}

/** Of an output; half of it when it may be that small. */
const TAIL_BYTES = 1024 * 1024;
/** Each costs memory beside its bytes. */
const MAX_CHUNKS = 4_096;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Keeps at most `maxBytes`, the last `TAIL_BYTES` of them from the end. */
export function createHeadAndTail(maxBytes: number): HeadAndTail {
  const tailBytes = Math.min(TAIL_BYTES, Math.floor(maxBytes / 2));
  let headLeft = maxBytes - tailBytes;
  const kept: Rest['chunks'] = [];
  let keptBytes = 0;
  const dropped: LeftOut = { bytes: 0, lines: 0, streams: [] };

  function drop(stream: Stream, bytes: Uint8Array): void {
    dropped.bytes += bytes.length;
    dropped.lines += countLines(bytes);
    if (!dropped.streams.includes(stream)) dropped.streams.push(stream);
  }

  /** Takes as much as this from the beginning of what is kept. */
  function dropFirst(bytes: number): void {
    const [first] = kept;
    if (!first || bytes <= 0) return;
    drop(first.stream, first.chunk.subarray(0, bytes));
    keptBytes -= Math.min(bytes, first.chunk.length);
    if (bytes < first.chunk.length) first.chunk = first.chunk.subarray(bytes);
    else kept.shift();
  }

  /** What is left of a line whose beginning is missing would be taken for a line, and may be a part of a secret. */
  function dropHalfLines(): void {
    for (const stream of dropped.streams) {
      for (const piece of kept.filter((one) => one.stream === stream)) {
        const end = piece.chunk.findIndex((byte) => byte === NEWLINE || byte === CARRIAGE_RETURN);
        const half = end === -1 ? piece.chunk.length : end + 1;
        drop(stream, piece.chunk.subarray(0, half));
        piece.chunk = piece.chunk.subarray(half);
        if (end !== -1) break;
      }
    }
  }

  return {
    push(stream, chunk) {
      const head = chunk.subarray(0, headLeft);
      headLeft -= head.length;
      if (head.length === chunk.length) return head;
      // A copy: the chunk may be a small part of a large buffer.
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
      dropHalfLines();
      return { leftOut: dropped, chunks: kept.filter(({ chunk }) => chunk.length > 0) };
    },
  };
}

function countLines(bytes: Uint8Array): number {
  let lines = 0;
  for (let at = bytes.indexOf(NEWLINE); at !== -1; at = bytes.indexOf(NEWLINE, at + 1)) lines += 1;
  return lines;
}
