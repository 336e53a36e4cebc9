import { describe, expect, it } from 'vitest';
import { readVariable, setVariable } from './env-text.ts';

const NAME = 'IAC_CONFIG_HASH';

/** Each row has the text, the value that is read from it, and the text after the variable was set to `new`. */
const TABLE: [what: string, text: string, value: string | null, after: string][] = [
  ['nothing', '', null, 'IAC_CONFIG_HASH=new'],
  ['the line alone', 'IAC_CONFIG_HASH=old', 'old', 'IAC_CONFIG_HASH=new'],
  ['the line with its end', 'IAC_CONFIG_HASH=old\n', 'old', 'IAC_CONFIG_HASH=new\n'],
  ['no value', 'A=1\nIAC_CONFIG_HASH=\nB=2\n', '', 'A=1\nIAC_CONFIG_HASH=new\nB=2\n'],
  ['no such line', 'A=1\nB=2\n', null, 'A=1\nB=2\nIAC_CONFIG_HASH=new\n'],
  ['no such line and no final line end', 'A=1\nB=2', null, 'A=1\nB=2\nIAC_CONFIG_HASH=new'],
  ['CRLF and no such line', 'A=1\r\nB=2\r\n', null, 'A=1\r\nB=2\r\nIAC_CONFIG_HASH=new\r\n'],
  ['CRLF and no final line end', 'A=1\r\nB=2', null, 'A=1\r\nB=2\r\nIAC_CONFIG_HASH=new'],
  ['CRLF', 'A=1\r\nIAC_CONFIG_HASH=old\r\nB=2', 'old', 'A=1\r\nIAC_CONFIG_HASH=new\r\nB=2'],
  [
    'line ends of all kinds',
    'A=1\r\nIAC_CONFIG_HASH=old\nB=2\rC=3\n\n',
    'old',
    'A=1\r\nIAC_CONFIG_HASH=new\nB=2\rC=3\n\n',
  ],
  ['blank lines and odd blanks', '\n  \nA = 1 \t\n\n', null, '\n  \nA = 1 \t\n\nIAC_CONFIG_HASH=new\n'],
  ['double quotes', 'IAC_CONFIG_HASH="old"\n', 'old', 'IAC_CONFIG_HASH=new\n'],
  ['single quotes', "IAC_CONFIG_HASH='old'\n", 'old', 'IAC_CONFIG_HASH=new\n'],
  ['blanks around it', ' IAC_CONFIG_HASH = old \n', 'old', ' IAC_CONFIG_HASH = new \n'],
  ['export', 'export IAC_CONFIG_HASH=old\n', 'old', 'export IAC_CONFIG_HASH=new\n'],
  ['a comment behind it', 'IAC_CONFIG_HASH=old # ours\n', 'old', 'IAC_CONFIG_HASH=new # ours\n'],
  ['words', 'IAC_CONFIG_HASH=old and more\n', 'old and more', 'IAC_CONFIG_HASH=new\n'],
  [
    'two of them: the last one counts',
    'IAC_CONFIG_HASH=one\nA=1\nIAC_CONFIG_HASH=two\nB=2\n',
    'two',
    'IAC_CONFIG_HASH=one\nA=1\nIAC_CONFIG_HASH=new\nB=2\n',
  ],
  [
    'a comment that looks like it',
    '# IAC_CONFIG_HASH=old\n',
    null,
    '# IAC_CONFIG_HASH=old\nIAC_CONFIG_HASH=new\n',
  ],
  [
    'names that only look like it',
    'MY_IAC_CONFIG_HASH=a\nIAC_CONFIG_HASH_2=b\niac_config_hash=c\n',
    null,
    'MY_IAC_CONFIG_HASH=a\nIAC_CONFIG_HASH_2=b\niac_config_hash=c\nIAC_CONFIG_HASH=new\n',
  ],
  [
    'its name in the value of another',
    'NOTE=IAC_CONFIG_HASH=old\n',
    null,
    'NOTE=IAC_CONFIG_HASH=old\nIAC_CONFIG_HASH=new\n',
  ],
  [
    'its name on a line inside of a quoted value',
    'KEY="first\nIAC_CONFIG_HASH=inside\nlast"\nA=1\n',
    null,
    'KEY="first\nIAC_CONFIG_HASH=inside\nlast"\nA=1\nIAC_CONFIG_HASH=new\n',
  ],
  [
    'a quoted value of many lines before it',
    'KEY="-----BEGIN\\"\nxyz=\n-----END"\nIAC_CONFIG_HASH=old\n',
    'old',
    'KEY="-----BEGIN\\"\nxyz=\n-----END"\nIAC_CONFIG_HASH=new\n',
  ],
  [
    'a quote that is never closed',
    'NAME=it"s\nQUOTE="open\nIAC_CONFIG_HASH=old\n',
    'old',
    'NAME=it"s\nQUOTE="open\nIAC_CONFIG_HASH=new\n',
  ],
  [
    'values with every odd character',
    'A=$B$$\\n\nU=é😀\u2028x\nE==\nT=\t\nIAC_CONFIG_HASH=old',
    'old',
    'A=$B$$\\n\nU=é😀\u2028x\nE==\nT=\t\nIAC_CONFIG_HASH=new',
  ],
];

describe('The environment text', () => {
  it.each(TABLE)('with %s: reads it and changes only its line', (_what, text, value, after) => {
    expect(readVariable(text, NAME)).toBe(value);
    expect(setVariable(text, NAME, 'new')).toBe(after);
    expect(readVariable(after, NAME)).toBe('new');
    expect(setVariable(after, NAME, 'new')).toBe(after);
  });

  it('of ten thousand random ones keeps every other line to the byte', () => {
    let seed = 20_261_121;
    const random = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((seed / 2_147_483_648) * below);
    };
    const pieces = [
      'A=1',
      '',
      '#',
      'IAC_CONFIG_HASH=x',
      'B="y',
      '"',
      "C='",
      "'",
      'D=`z`',
      ' ',
      'export ',
      '=',
      'é',
    ];
    const ends = ['\n', '\r\n', '\r', ''];
    const pick = (list: readonly string[]): string => list[random(list.length)] ?? '';
    for (let round = 0; round < 10_000; round += 1) {
      const text = Array.from({ length: random(8) }, () => pick(pieces) + pick(ends)).join('');
      const after = setVariable(text, NAME, 'abc');
      const label = JSON.stringify({ seed, text, after });
      expect(readVariable(after, NAME), label).toBe('abc');
      // The change is in one piece: the text before it and the text behind it stayed.
      let same = 0;
      while (same < text.length && text[same] === after[same]) same += 1;
      let tail = 0;
      while (tail < text.length - same && text.at(-1 - tail) === after.at(-1 - tail)) tail += 1;
      expect(text.slice(same, text.length - tail), label).not.toMatch(/[\r\n]/);
    }
  });
});
