/** Checks the texts of a rules file: paths, globs and placeholders. Each check returns the problem, or null. */

import { variablesIn } from '../patterns/glob.ts';
import { placeholdersIn } from '../patterns/placeholders.ts';

/** A segment with more of them could take long to compare with a long file name. */
const MAX_VARIABLES = 2;
/** The library that makes regular expressions of globs refuses longer ones than 65,536 characters. */
const MAX_GLOB = 4_096;

/** Placeholders that every rule has, besides those of its `match`. */
const USUAL_PLACEHOLDERS = ['id', 'folder', 'environment', 'revision'];

/** `.`, `..` and empty segments make no path of a repository. */
export function problemOfPath(path: string): string | null {
  const isWrong = path.includes('\0') || path.split('/').some((segment) => ['', '.', '..'].includes(segment));
  return isWrong
    ? 'expected a path in the repository, without "." and ".." and without a slash at its ends'
    : null;
}

export function problemOfGlob(glob: string): string | null {
  return problemOfPath(glob) ?? problemOfWildcards(glob);
}

export function problemOfWildcards(glob: string): string | null {
  if (glob.length > MAX_GLOB) return `expected at most ${MAX_GLOB} characters`;
  const segments = glob.split('/');
  if (segments.some((segment) => segment !== '**' && segment.includes('**')))
    return '** stands for folders, so it needs a slash on both sides';
  const isTooMany = segments.some((segment) => segment !== '**' && wildcards(segment) > MAX_VARIABLES);
  return isTooMany ? `expected at most ${MAX_VARIABLES} wildcards between two slashes` : null;
}

/** Digits are at most nine, so `{nn}` takes no long time. */
function wildcards(segment: string): number {
  return variablesIn(segment).filter((name) => name !== 'nn').length;
}

/** A list of globs, of which those with `!` leave paths out. */
export function problemOfPatterns(patterns: readonly string[]): string | null {
  const isNothing = patterns[0]?.startsWith('!');
  return isNothing ? 'the first pattern has to name files; only later ones may begin with "!"' : null;
}

export function problemOfMatch(match: string): string | null {
  const glob = problemOfGlob(match);
  if (glob) return glob;
  const names = placeholdersIn(match);
  const rest = names.reduce((text, name) => text.replace(`{${name}}`, ''), match.replace(/\\[\s\S]/g, ''));
  if (/[{}]/.test(rest)) return 'expected placeholders such as {service}, {nn} or {team}';
  if (!names.includes('service')) return 'expected {service}, e.g. stacks/{service}/docker-compose.yml';
  if (new Set(names).size < names.length) return 'expected each placeholder once';
  const usual = names.find((name) => USUAL_PLACEHOLDERS.includes(name));
  if (usual !== undefined) return `{${usual}} has a meaning of its own; choose another name`;
  if (/(?:\}|\*)(?:\{|\*\{)|\}\*/.test(match)) return 'expected a text between two placeholders or wildcards';
  return null;
}

export function problemOfPlaceholders(text: string, allowed: readonly string[]): string | null {
  const unknown = placeholdersIn(text).find((name) => !allowed.includes(name));
  if (unknown === undefined) return null;
  return `unknown placeholder {${unknown}}; there are ${allowed.map((name) => `{${name}}`).join(', ')}`;
}

/** An id must not need many tries to be compared with the ids that a rule can make. */
export function problemOfId(id: string): string | null {
  const names = placeholdersIn(id);
  if (new Set(names).size < names.length) return 'expected each placeholder once';
  return problemOfWildcards(id);
}

/** The placeholders that `run`, `verify`, `cwd`, `config` and `inputs` may have. */
export function placeholdersOf(match: string): string[] {
  return [...placeholdersIn(match), ...USUAL_PLACEHOLDERS];
}

/** A path that may begin with `{folder}`, for the checks of paths. */
export function withoutFolder(text: string): string {
  return text.replace(/^\{folder\}/, 'folder');
}
