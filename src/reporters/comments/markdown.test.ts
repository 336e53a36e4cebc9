import { describe, expect, it } from 'vitest';
import { longestTurnMs } from '../../hostile-content.fixture.ts';
import { code, fenced, plainLines, prose } from './markdown.ts';

describe('Foreign text in Markdown', () => {
  it.each([
    ['code', code],
    ['prose', prose],
    ['plainLines', plainLines],
  ])('shows invisible characters in %s', (_what, show) => {
    for (const unseen of ['\u200b', '\u200d', '\u2060', '\ufeff', '\u{e0061}', '\u202e', '\u00ad']) {
      const shown = show(`a${unseen}b`);
      expect(shown).not.toContain(unseen);
      // A byte order mark between words counts as a space.
      expect(shown).toMatch(/a[\ufffd ]b/);
    }
  });

  it('keeps sentences as sentences, and makes every other word code', () => {
    expect(prose('Folder a.b, (x): no changes (y.z).')).toBe('Folder `a.b`, (x): no changes (`y.z`).');
    expect(prose('... 1. 12 §')).toBe('`...` `1`. 12 `§`');
  });

  it('cuts a sentence that is too long for a comment', () => {
    expect(prose('word '.repeat(100_000)).length).toBeLessThan(5_000);
  });

  it.each(['.', ',', ')', '`', ' ', 'a.', '(s', '\u200b', '\n', '`` '])(
    'of many %j takes time in proportion to its length',
    async (part) => {
      const text = `${part.repeat(Math.ceil(500_000 / part.length))}x`;
      for (const show of [code, prose, (lines: string) => fenced(plainLines(lines))]) {
        // CPU time of this thread: it takes a few milliseconds, and quadratic work takes minutes.
        expect(await longestTurnMs(() => show(text))).toBeLessThan(2_000);
      }
    },
  );
});
