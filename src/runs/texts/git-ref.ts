/** Checks names of branches, tags and commits before they reach git. */

const MAX_LENGTH = 255;

// biome-ignore lint/suspicious/noControlCharactersInRegex: git refuses them.
const ILLEGAL = /[\u0000-\u0020\u007f~^:?*[\\]|\.\.|@\{|\/\/|^\/|\/$|\.$|\.lock(\/|$)|(^|\/)\./;

/**
 * Returns the problem of a name, as the end of a sentence that begins with the name; null if git accepts the name. The
 * rules are those of git-check-ref-format(1). A name that begins with a dash is refused, too: it could be an option.
 */
export function refProblem(ref: string): string | null {
  if (ref === '') return 'is empty';
  if (ref.length > MAX_LENGTH) return `is longer than ${MAX_LENGTH} characters`;
  if (ref.startsWith('-')) return 'begins with a dash';
  if (ref === '@' || ILLEGAL.test(ref) || !ref.isWellFormed()) return 'is not a name that git accepts';
  return null;
}
