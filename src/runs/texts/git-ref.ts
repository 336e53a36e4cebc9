/** Which names of branches, tags and commits may reach git. */

const MAX_LENGTH = 255;

// biome-ignore lint/suspicious/noControlCharactersInRegex: git refuses them.
const ILLEGAL = /[\u0000-\u0020\u007f~^:?*[\\]|\.\.|@\{|\/\/|^\/|\/$|\.$|\.lock(\/|$)|(^|\/)\./;

/**
 * What is wrong with a name, as the end of a sentence that begins with it; null for one that git accepts. The rules
 * are those of git-check-ref-format(1); besides, what begins with a dash could be taken for an option.
 */
export function refProblem(ref: string): string | null {
  if (ref === '') return 'is empty';
  if (ref.length > MAX_LENGTH) return `is longer than ${MAX_LENGTH} characters`;
  if (ref.startsWith('-')) return 'begins with a dash';
  if (ref === '@' || ILLEGAL.test(ref) || !ref.isWellFormed()) return 'is not a name that git accepts';
  return null;
}
