/** Puts foreign text into GitHub's Markdown. It is shown as it is, makes no links or mentions, and breaks no structure. Pure. */

import { replaceUnseen } from '../../runs/texts/unseen-characters.ts';

const MAX_CODE = 300;
/** Longer runs of backticks are broken up, because the fences around them would use the space of the text. */
const MAX_BACKTICKS = 40;
const LONG_RUN = new RegExp(`\`{${MAX_BACKTICKS + 1},}`, 'g');
const PART_OF_RUN = new RegExp(`\`{1,${MAX_BACKTICKS}}`, 'g');
export const FENCES_LENGTH = 2 * (MAX_BACKTICKS + 1) + '\n\n'.length + 'text'.length;
/** Sentences are shorter. A longer text would push everything else out of the comment. */
const MAX_PROSE = 4_000;

/**
 * Makes a code span, in which mentions, references, HTML and addresses have no effect
 * (https://github.github.com/gfm/#code-spans). Its fence is longer than any in the text. Line breaks, control characters
 * and invisible characters become U+FFFD.
 */
export function code(text: string): string {
  const shown = replaceUnseen(cut(text, MAX_CODE), '\ufffd');
  const fence = '`'.repeat(longestRun(shown) + 1);
  const isEdgy = /^[` ]|[` ]$/.test(shown) || shown === '';
  return isEdgy ? `${fence} ${shown} ${fence}` : `${fence}${shown}${fence}`;
}

/** Prepares lines for `fenced`: they are shown as they are, and invisible characters become visible. */
export function plainLines(text: string): string {
  const lines = text.toWellFormed().replace(/\r\n?/g, '\n');
  return replaceUnseen(lines, (character) =>
    character === '\n' || character === '\t' ? character : '\ufffd',
  ).replace(LONG_RUN, (run) => run.match(PART_OF_RUN)?.join('\u200b') ?? '');
}

/**
 * Makes a fenced code block of `plainLines`, in which nothing is Markdown or HTML
 * (https://github.github.com/gfm/#fenced-code-blocks). Its fences are longer than any run of backticks in the text,
 * and add at most FENCES_LENGTH characters to it.
 */
export function fenced(lines: string): string {
  const fence = '`'.repeat(Math.max(3, longestRun(lines) + 1));
  return `${fence}text\n${lines}\n${fence}`;
}

function longestRun(text: string): number {
  let longest = 0;
  for (const [run] of text.matchAll(/`+/g)) longest = Math.max(longest, run.length);
  return longest;
}

/** Formats our own sentence with foreign words in it. Every word that has more than plain letters becomes a code span. */
export function prose(text: string): string {
  return cut(text, MAX_PROSE)
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word) => {
      const [head, core, tail] = splitPunctuation(word);
      if (core === '') return code(word);
      // A number with a full stop would start a list.
      const isPlain = /^\p{L}[\p{L}'’-]*(\(s)?$/u.test(core) || (/^\d+$/.test(core) && !/[.)]/.test(tail));
      return head + (isPlain ? core : code(core)) + tail;
    })
    .join(' ');
}

/** Splits a word from an opening parenthesis before it, and from the punctuation at its end. */
function splitPunctuation(word: string): [head: string, core: string, tail: string] {
  const start = word.startsWith('(') ? 1 : 0;
  let end = word.length;
  while (end > start && '.,;:)'.includes(word.charAt(end - 1))) end -= 1;
  return [word.slice(0, start), word.slice(start, end), word.slice(end)];
}

function cut(text: string, limit: number): string {
  return (text.length > limit ? `${text.slice(0, limit)}…` : text).toWellFormed();
}
