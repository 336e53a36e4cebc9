import { describe, expect, it } from 'vitest';
import { plainLine, styledLine, terminalLine } from './ansi.ts';

const HOSTILE: [what: string, line: string, text: string][] = [
  ['a window title', 'a\x1b]0;owned\x07b', 'ab'],
  ['a link (OSC 8)', '\x1b]8;;javascript:alert(1)\x1b\\click\x1b]8;;\x1b\\', 'click'],
  ['clearing and cursor movement', '\x1b[2J\x1b[1;1H\x1b[Ka\x1b[1Ab', 'ab'],
  ['a private mode', '\x1b[?1049ha', 'a'],
  ['a device command (DCS, APC)', 'a\x1bP1$r\x1b\\\x1b_payload\x1b\\b', 'ab'],
  ['8-bit controls', 'a\x9b2J\x9d0;t\x9cb\x85', 'ab'],
  ['a character set and a reset', '\x1b(0\x1bca', 'a'],
  ['bells, backspaces, deletes and NUL', 'a\x07\x08\x7f\x00b', 'ab'],
  ['a carriage return at the end', 'done\r', 'done'],
  ['a carriage return that overwrites', 'evil\rgood', 'evil␍good'],
  ['an unterminated title, which must not hide the rest', '\x1b]0;a b', '0;a b'],
  ['a right-to-left override', 'a\u202egpj.exe\u2066', 'a<U+202E>gpj.exe<U+2066>'],
  ['zero-width characters', 'pay\u200bpal\u2060', 'pay<U+200B>pal<U+2060>'],
  ['tag characters', 'a\u{e0061}\u{e007f}', 'a<U+E0061><U+E007F>'],
  ['hidden characters in a row', '\u202e\u202e\u200b\ufe0f\ufe0e', '<U+202E><U+202E><U+200B>\ufe0f<U+FE0E>'],
  ['carriage returns in a row', 'evil\r\r\rgood', 'evil␍␍␍good'],
  ['a line separator', 'a\u2028b', 'a<U+2028>b'],
];

describe('F48: output for terminals, pages and sentences', () => {
  it.each(HOSTILE)('removes %s', (_what, line, text) => {
    expect(terminalLine(line)).toBe(text);
    expect(plainLine(line)).toBe(text);
    expect(
      styledLine(line)
        .map((span) => span.text)
        .join(''),
    ).toBe(text);
  });

  it('keeps tabs, markup, emoji and other scripts as they are', () => {
    const line = '\t<b>&amp;</b> </script> 🚀 ✔️ 👩‍🚀 Ελλάδα עברית';
    expect([terminalLine(line), plainLine(line), styledLine(line)]).toEqual([line, line, [{ text: line }]]);
  });

  it('shows each character of a long run of hidden ones', () => {
    expect(plainLine('\u200b'.repeat(2_500))).toBe('<U+200B>'.repeat(2_500));
  });

  it('takes time in proportion to the length of a hostile line', () => {
    for (const part of ['\x1b]', '\x9d', '\x1b[', '\x1b[1', '\r', '\x1bP\x1b']) {
      expect(plainLine(part.repeat(200_000)).length).toBeLessThanOrEqual(200_000);
    }
  });
});

describe('colours', () => {
  it('stay in the terminal form, and end with the line', () => {
    expect(terminalLine('\x1b[31mred\x1b[0m')).toBe('\x1b[31mred\x1b[0m');
    expect(terminalLine('\x1b[1;38;5;208mred')).toBe('\x1b[1;38;5;208mred\x1b[0m');
  });

  const STYLES: [sequence: string, classes: string | undefined][] = [
    ['31', 'fg-1'],
    ['1;32', 'bold fg-2'],
    ['2;3;4', 'faint italic underline'],
    ['97;104', 'fg-15 bg-12'],
    ['7', 'inverse'],
    ['7;31', 'bg-1'],
    ['38;5;9', 'fg-9'],
    ['38;5;196', 'fg-9'],
    ['48;5;232', 'bg-0'],
    ['48;5;244', 'bg-8'],
    ['38;5;255', 'fg-7'],
    ['38;5;21', 'fg-4'],
    ['38;5;46', 'fg-10'],
    ['38;2;0;0;230;1', 'bold fg-4'],
    ['38:2:0:205:0', 'fg-2'],
    ['31;41', 'fg-1'],
    ['8', undefined],
    ['31;0', undefined],
    ['31;;1', 'bold'],
    ['999', undefined],
    ['38', undefined],
  ];

  it.each(STYLES)('%s becomes the classes %s', (sequence, classes) => {
    expect(styledLine(`\x1b[${sequence}mx`)).toEqual([{ text: 'x', ...(classes && { classes }) }]);
  });

  it('apply only to the text after them', () => {
    expect(styledLine('a\x1b[33mb\x1b[0mc\x1b[md')).toEqual([
      { text: 'a' },
      { text: 'b', classes: 'fg-3' },
      { text: 'cd' },
    ]);
  });
});
