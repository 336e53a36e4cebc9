/** Splits output into lines of bounded length, masked before they are cut. */

import type { Redactor } from './redact.ts';

export interface LineSplitter {
  /** The lines that this chunk completes; a line that is too long comes as soon as it is. */
  push(chunk: Uint8Array): string[];
  /** The last line, when the output did not end with a newline. */
  end(): string[];
}

export interface LineSplitterOptions {
  redact: Redactor;
  /** UTF-8 bytes of a line; default 16 KiB. The rest of a longer line is replaced by a mark. */
  maxLineBytes?: number | undefined;
}

const MAX_LINE_BYTES = 16 * 1024;

/**
 * LF, CR and CR LF end a line, so that a progress bar is one line per update; an update that is empty is
 * left out. Invalid UTF-8 and NUL become U+FFFD. Other control characters, such as colours, stay.
 */
export function createLineSplitter(options: LineSplitterOptions): LineSplitter {
  const { redact, maxLineBytes = MAX_LINE_BYTES } = options;
  const maxPendingLength = maxLineBytes + redact.longestLength;
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let lines: string[] = [];
  let pending = '';
  let dropping = false;
  let endedByCarriageReturn = false;

  function addText(text: string): void {
    if (text === '') return;
    endedByCarriageReturn = false;
    if (dropping) return;
    pending += text;
    if (pending.length <= maxPendingLength) return;
    lines.push(cutOverlongLine(pending.slice(0, maxPendingLength), redact, maxLineBytes));
    pending = '';
    dropping = true;
  }

  function endLine(): void {
    if (!dropping) lines.push(cutToBytes(redact(pending), maxLineBytes));
    pending = '';
    dropping = false;
  }

  function add(text: string): void {
    for (const [index, row] of text.split('\n').entries()) {
      if (index > 0) {
        if (!endedByCarriageReturn) endLine();
        endedByCarriageReturn = false;
      }
      for (const [column, part] of row.split('\r').entries()) {
        if (column > 0 && (pending !== '' || dropping)) {
          endLine();
          endedByCarriageReturn = true;
        }
        addText(part);
      }
    }
  }

  function take(): string[] {
    const taken = lines;
    lines = [];
    return taken;
  }

  return {
    push(chunk) {
      add(decoder.decode(chunk, { stream: true }).replaceAll('\0', '\ufffd'));
      return take();
    },
    end() {
      addText(decoder.decode());
      if (pending !== '') endLine();
      return take();
    },
  };
}

/**
 * The start of a line that goes on. A secret may begin at its end and not be recognised, so that as much as
 * the longest one is left out after masking; masking only shrinks, so that is enough.
 */
function cutOverlongLine(start: string, redact: Redactor, maxBytes: number): string {
  const masked = redact(start);
  const certain = masked.slice(0, masked.length - Math.max(0, redact.longestLength - 1));
  return firstBytes(certain, maxBytes) + cutMark(maxBytes);
}

function cutToBytes(line: string, maxBytes: number): string {
  // A UTF-16 unit takes at most three bytes.
  if (line.length * 3 <= maxBytes || Buffer.byteLength(line) <= maxBytes) return line;
  return firstBytes(line, maxBytes) + cutMark(maxBytes);
}

function cutMark(maxBytes: number): string {
  return ` [line cut after ${maxBytes} bytes]`;
}

function firstBytes(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text);
  let end = Math.min(maxBytes, bytes.length);
  // Bytes 10xxxxxx go on with a character: step back to where it begins.
  while (end > 0 && end < bytes.length && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, end);
}
