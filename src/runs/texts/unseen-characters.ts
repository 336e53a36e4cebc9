/** Finds characters that nobody sees, or that change how others look, so that a text can hide nothing in them. Pure. */

/** Zero-width and filling characters, marks of direction, separators of lines, tags, and marks for programs. */
const ALWAYS =
  '[\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b\\u200c\\u200e\\u200f\\u2028-\\u202e' +
  '\\u2060-\\u206f\\u3164\\ufe00-\\ufe0d\\ufeff\\uffa0\\ufff0-\\ufffb\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e0fff}]';
/** A joiner is visible only between two pictures, which it makes one. */
const JOINER =
  '(?<!\\p{Extended_Pictographic}[\\ufe0f\\u{1f3fb}-\\u{1f3ff}]?)\\u200d|\\u200d(?!\\p{Extended_Pictographic})';
/** The first selector says how a picture is drawn. More of them in a row carry bytes. */
const SELECTOR = '(?<=[\\ufe00-\\ufe0f])[\\ufe0e\\ufe0f]';

/** Matches one character in a RegExp with the flag `u`. Control characters are not included, as some have a use. */
export const UNSEEN = `(?:${ALWAYS}|${JOINER}|${SELECTOR})`;

const CONTROL_OR_UNSEEN = new RegExp(`\\p{Cc}|${UNSEEN}`, 'gu');

/** Replaces each control character and each character that nobody sees. */
export function replaceUnseen(text: string, replacement: string | ((character: string) => string)): string {
  return typeof replacement === 'string'
    ? text.replace(CONTROL_OR_UNSEEN, () => replacement)
    : text.replace(CONTROL_OR_UNSEEN, replacement);
}
