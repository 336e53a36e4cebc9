/** Splits output into lines of limited length, and masks a line before it cuts it. */

import { KIBIBYTE } from '../../units.ts';
import type { Redactor } from './redact.ts';

interface LineSplitter {
  /** Returns the lines that this chunk completes, and the start of a line that has become too long. */
  push(chunk: Uint8Array): string[];
  /** Returns the last line if the output did not end with a newline. */
  end(): string[];
}

interface LineSplitterOptions {
  redact: Redactor;
  /** In UTF-8. The rest of a longer line is replaced by a mark. Default 16 KiB. */
  maxLineBytes?: number | undefined;
}

const MAX_LINE_BYTES = 16 * KIBIBYTE;

/**
 * LF, CR and CR LF end a line, so that each update of a progress bar is a line. Empty updates are left out. Invalid
 * UTF-8 and NUL become U+FFFD. Other control characters, such as colours, stay.
 */
export function createLineSplitter(options: LineSplitterOptions): LineSplitter {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  const collected = createLineCollector(options);
  let endedByCarriageReturn = false;

  function addText(text: string): void {
    if (text === '') return;
    endedByCarriageReturn = false;
    collected.add(text);
  }

  function addRows(text: string): void {
    for (const [index, row] of text.split('\n').entries()) {
      if (index > 0) {
        if (!endedByCarriageReturn) collected.endLine();
        endedByCarriageReturn = false;
      }
      for (const [column, part] of row.split('\r').entries()) {
        if (column > 0 && !collected.isEmpty()) {
          collected.endLine();
          endedByCarriageReturn = true;
        }
        addText(part);
      }
    }
  }

  return {
    push(chunk) {
      addRows(decoder.decode(chunk, { stream: true }).replaceAll('\0', '\ufffd'));
      return collected.take();
    },
    end() {
      addText(decoder.decode());
      if (collected.hasText()) collected.endLine();
      return collected.take();
    },
  };
}

/** Collects the text of lines, and cuts those that are too long. */
function createLineCollector({ redact, maxLineBytes = MAX_LINE_BYTES }: LineSplitterOptions) {
  const maxPendingLength = maxLineBytes + redact.longestLength;
  let lines: string[] = [];
  let pending = '';
  let dropping = false;
  return {
    isEmpty: () => pending === '' && !dropping,
    hasText: () => pending !== '',
    add(text: string): void {
      if (dropping) return;
      pending += text;
      if (pending.length <= maxPendingLength) return;
      lines.push(cutOverlongLine(pending.slice(0, maxPendingLength), redact, maxLineBytes));
      pending = '';
      dropping = true;
    },
    endLine(): void {
      if (!dropping) lines.push(cutToBytes(redact(pending), maxLineBytes));
      pending = '';
      dropping = false;
    },
    take(): string[] {
      const taken = lines;
      lines = [];
      return taken;
    },
  };
}

/**
 * The start of a line that is too long. A secret may begin near its end and not be recognised. So the length of the
 * longest secret is left out after masking, which is enough, because masking makes text only shorter.
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
  // Bytes 10xxxxxx continue a character, so this goes back to the start of it.
  while (end > 0 && end < bytes.length && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, end);
}
