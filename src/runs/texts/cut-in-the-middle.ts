/** Shortens texts that are too long to be shown whole. Pure. */

/** Space for the words in the place of the missing part. */
const WORDS = 100;

/** Cuts at the ends of lines, and says how much is missing. */
export function cutInTheMiddle(text: string, maxCharacters: number): string {
  if (text.length <= maxCharacters) return text;
  const half = Math.max(0, Math.floor((maxCharacters - WORDS) / 2));
  const head = text.slice(0, text.lastIndexOf('\n', half - 1) + 1);
  const tailFrom = text.indexOf('\n', text.length - half);
  const tail = tailFrom < 0 ? '' : text.slice(tailFrom);
  return `${head}… ${text.length - head.length - tail.length} characters left out …${tail}`;
}
