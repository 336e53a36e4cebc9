import { expect, it } from 'vitest';
import { replaceUnseen } from './unseen-characters.ts';

const TAGS = [...'apply'].map((letter) => String.fromCodePoint(0xe0000 + letter.charCodeAt(0))).join('');

it.each([
  ['a zero-width space', 'pay\u200bpal', 'pay?pal'],
  ['joiners between letters', 'a\u200cb\u200dc', 'a?b?c'],
  ['a word joiner, invisible operators, deprecated controls', 'a\u2060\u2063\u206fb', 'a???b'],
  ['a byte order mark', '\ufeffa', '?a'],
  ['a soft hyphen and a grapheme joiner', 'a\u00adb\u034fc', 'a?b?c'],
  ['fillers that look like nothing', 'a\u3164\u115f\uffa0b', 'a???b'],
  ['tag characters', `ok${TAGS}`, 'ok?????'],
  ['bytes in variation selectors', 'a\ufe0f\ufe01\ufe0f\u{e0142}', 'a\ufe0f???'],
  ['marks of direction and separators of lines', 'a\u202e\u2066\u061c\u200f\u2028b', 'a?????b'],
  ['controls', 'a\u0007\u001b\u0085b', 'a???b'],
])('Of what nobody sees nothing is left unseen: %s', (_what, text, seen) => {
  expect(replaceUnseen(text, '?')).toBe(seen);
});

it.each(['⚠️ ✔︎', '👩‍🚀 👨🏽‍💻 🏳️‍🌈', 'Ελλάδα עברית क्षि 한국어', 'a - b', ' '])('%s stays as it is', (text) => {
  expect(replaceUnseen(text, '?')).toBe(text);
});
