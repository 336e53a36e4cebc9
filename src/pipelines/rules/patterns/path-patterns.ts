/** Patterns for the files of a repository, and lists of them of which the last one that matches a path decides. */

import { compileGlob } from './glob.ts';

/** A glob, or the path of a file or of a folder with everything in it. Braces are plain. */
export interface PathPattern {
  /** The folder or file, without wildcards, outside of which no path matches. The root of the repository is ''. */
  root: string;
  /** The characters before the first wildcard, without a slash at the end. */
  beginning: string;
  match(path: readonly string[]): boolean;
}

export function compilePattern(pattern: string): PathPattern {
  if (!/[\\*?]/.test(pattern)) return plainPattern(pattern);
  const glob = compileGlob(
    pattern.replace(/\\[\s\S]|[{}]/g, (text) => (text.length > 1 ? text : `\\${text}`)),
  );
  const plain = glob.segments.map((segment) => segment.plain);
  if (plain.every((text) => text !== null)) return plainPattern(plain.join('/'));
  return {
    root: glob.folders.join('/'),
    beginning: glob.beginning,
    match: (path) => glob.match(path) !== null,
  };
}

/**
 * Returns a compiler for many lists of patterns. A pattern that is in several lists is compiled once, and is compared once
 * with a path that all lists get one after the other.
 */
export function createPatternCompiler(): (pattern: string) => PathPattern {
  const known = new Map<string, PathPattern>();
  return (pattern) => {
    const compiled = known.get(pattern) ?? rememberLast(compilePattern(pattern));
    known.set(pattern, compiled);
    return compiled;
  };
}

function rememberLast(pattern: PathPattern): PathPattern {
  let last: { path: readonly string[]; matches: boolean } | null = null;
  return {
    ...pattern,
    match(path) {
      if (last?.path !== path) last = { path, matches: pattern.match(path) };
      return last.matches;
    },
  };
}

function plainPattern(path: string): PathPattern {
  const segments = path.split('/');
  return {
    root: path,
    beginning: path,
    match: (other) => segments.every((segment, index) => other[index] === segment),
  };
}

export interface PathPatterns {
  /** No path outside of these files and folders matches. The root of the repository is ''. */
  roots: readonly string[];
  match(path: readonly string[]): boolean;
}

/** Patterns that begin with `!` leave paths out. */
export function compilePatterns(
  patterns: readonly string[],
  compile: (pattern: string) => PathPattern = compilePattern,
): PathPatterns {
  const compiled = patterns.map((pattern) => {
    const excludes = pattern.startsWith('!');
    return { excludes, ...compile(excludes ? pattern.slice(1) : pattern) };
  });
  return {
    roots: [...new Set(compiled.filter(({ excludes }) => !excludes).map(({ root }) => root))],
    match(path) {
      const last = compiled.findLast((pattern) => pattern.match(path));
      return last !== undefined && !last.excludes;
    },
  };
}
