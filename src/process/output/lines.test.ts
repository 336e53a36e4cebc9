import { describe, expect, it } from 'vitest';
import { createLineSplitter } from './lines.ts';
import { createRedactor } from './redact.ts';

interface SplitOptions {
  maxLineBytes?: number;
  secrets?: string[];
}

function split(chunks: (string | Uint8Array)[], options: SplitOptions = {}): string[] {
  const splitter = createLineSplitter({
    redact: createRedactor(options.secrets ?? []),
    maxLineBytes: options.maxLineBytes,
  });
  const lines = chunks.flatMap((chunk) =>
    splitter.push(typeof chunk === 'string' ? Buffer.from(chunk) : chunk),
  );
  return [...lines, ...splitter.end()];
}

/** Every way to cut the text into two chunks of bytes. */
function splitEverywhere(text: string, options: SplitOptions = {}): string[][] {
  const bytes = Buffer.from(text);
  return Array.from(bytes, (_, index) => split([bytes.subarray(0, index), bytes.subarray(index)], options));
}

describe('line splitter', () => {
  it('joins text that chunks cut, also within characters and line ends', () => {
    for (const lines of splitEverywhere('für\r\n\r\n→ 🚀\n\nend'))
      expect(lines).toEqual(['für', '', '→ 🚀', '', 'end']);
  });

  it('makes one line of each update of a progress bar', () => {
    for (const lines of splitEverywhere('\r10%\r20%\r\r\ndone\n\rnext')) {
      expect(lines).toEqual(['10%', '20%', 'done', 'next']);
    }
  });

  it('F32: shows invalid UTF-8 and NUL as replacement characters and keeps colours', () => {
    expect(split([Buffer.from([0x61, 0xff, 0x62, 0x00, 0x63, 0x0a]), '\x1b[31mred\x1b[0m\n'])).toEqual([
      'a\ufffdb\ufffdc',
      '\x1b[31mred\x1b[0m',
    ]);
    expect(split([Buffer.from([0xe2, 0x86])])).toEqual(['\ufffd']);
  });

  it('F32: cuts a long line at a character, marks it, and goes on after its newline', () => {
    expect(split(['ééééé\nnext\n'], { maxLineBytes: 5 })).toEqual(['éé [line cut after 5 bytes]', 'next']);
    expect(split(['exact\n12345'], { maxLineBytes: 5 })).toEqual(['exact', '12345']);
  });

  it('F32: passes a long line on once, before it has ended', () => {
    const splitter = createLineSplitter({ redact: createRedactor([]), maxLineBytes: 4 });
    expect(splitter.push(Buffer.from('123456'))).toEqual(['1234 [line cut after 4 bytes]']);
    expect(splitter.push(Buffer.from('more'))).toEqual([]);
    expect(splitter.push(Buffer.from('more\r\nnext\n'))).toEqual(['next']);
    expect(splitter.end()).toEqual([]);
  });

  it('F41: masks a secret wherever chunks cut it', () => {
    for (const lines of splitEverywhere('a tok_123456 b\n', { secrets: ['tok_123456'] })) {
      expect(lines).toEqual(['a **** b']);
    }
  });

  it('F41: leaves no part of a secret at the cut of a long line', () => {
    const secret = 'QWERTZUIOPASDFGH';
    for (let before = 0; before < 80; before += 1) {
      for (const repeats of [1, 3]) {
        const text = `${'.'.repeat(before)}${secret.repeat(repeats)}${'.'.repeat(200)}`;
        for (const chunks of [[text], [text.slice(0, before + 9), text.slice(before + 9)]]) {
          const [line = ''] = split(chunks, { maxLineBytes: 40, secrets: [secret] });
          expect(line.replace(/ \[line cut.*/, '')).toMatch(/^\.*\**\.*$/);
          expect(line).toContain('[line cut after 40 bytes]');
        }
      }
    }
  });
});
