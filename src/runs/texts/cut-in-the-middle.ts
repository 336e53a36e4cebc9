/** Shortens texts that are too long to be shown whole. Pure. */

/** Room for the words that stand where something is missing. */
const WORDS = 100;

/** On line boundaries, saying how much is missing. */
export function cutInTheMiddle(text: string, maxCharacters: number): string {
  if (text.length <= maxCharacters) return text;
  const half = Math.max(0, Math.floor((maxCharacters - WORDS) / 2));
  const head = text.slice(0, text.lastIndexOf('\n', half - 1) + 1);
  const tailFrom = text.indexOf('\n', text.length - half);
  const tail = tailFrom < 0 ? '' : text.slice(tailFrom);
  return `${head}… ${text.length - head.length - tail.length} characters left out …${tail}`;
}
