/** Matches paths with the globs of a rules file: `*`, `?`, `**` for any number of folders, and named placeholders. */

import picomatch from 'picomatch';

/** Placeholder → the regular expression of the texts that it matches, without groups. */
export type PlaceholderShapes = (name: string) => string;

/** Placeholder → the text that it matched. */
export type Captures = Readonly<Record<string, string>>;

/** Matches one segment of a path. */
export type SegmentMatcher = (segment: string) => Captures | null;

export interface Glob {
  /** The folders before the first segment that is not plain text. */
  folders: readonly string[];
  /** The characters before the first wildcard or placeholder, without a slash at the end. */
  beginning: string;
  /** The last segment, if it is plain text. */
  fileName: string | null;
  segments: readonly Segment[];
  match(path: readonly string[]): Captures | null;
}

/** Matches one segment of a path, or any number of segments that each match. */
export interface PathPart {
  match: SegmentMatcher;
  repeats: boolean;
}

interface Segment extends PathPart {
  /** The segment as it is written. */
  text: string;
  /** The plain text, or null if there is a wildcard or a placeholder. */
  plain: string | null;
}

/** What matches without a placeholder. */
export const NOTHING: Captures = {};
/** `**`, which matches any number of folders. */
const ANY_FOLDERS: Segment = { text: '**', plain: null, match: () => NOTHING, repeats: true };

const OPTIONS = { dot: true, noextglob: true, nobrace: true, nonegate: true } as const;

/** A wildcard of a segment, or a placeholder. A backslash makes the next character plain. */
const VARIABLE = /\\[\s\S]|\*+|\?|\{([A-Za-z_][A-Za-z0-9_-]*)\}/g;

/** No file system has longer names, and they could take long to compare. */
export const MAX_NAME = 255;

/** Stands for a placeholder while picomatch makes the regular expression. No other text has these characters. */
const FIRST_MARK = 0xe000;

export function compileGlob(pattern: string, shapeOf?: PlaceholderShapes): Glob {
  const texts = pattern.split('/');
  // At the end `**` means everything in the folder, and not the folder itself.
  if (texts.at(-1) === '**') texts.push('*');
  const segments = texts.map((text) => (text === '**' ? ANY_FOLDERS : segmentOf(text, shapeOf)));
  const firstVariable = segments.findIndex(({ plain }) => plain === null);
  const folders = segments
    .slice(0, firstVariable === -1 ? -1 : firstVariable)
    .map(({ plain }) => plain ?? '');
  return {
    folders,
    beginning: [...folders, beginningOf(segments[folders.length]?.text ?? '')].join('/').replace(/\/$/, ''),
    fileName: segments.at(-1)?.plain ?? null,
    segments,
    match: (path) => matchSegments(segments, path),
  };
}

/** Makes every character of a text plain, also a `!` at its beginning. */
export function plainGlob(text: string): string {
  return text.replace(/^!|[\\*?{}]/g, '\\$&');
}

/** The wildcards and placeholders of a pattern. A placeholder is its name, and a wildcard is null. */
export function variablesIn(pattern: string): (string | null)[] {
  return [...pattern.matchAll(VARIABLE)]
    .filter(([text]) => !text.startsWith('\\'))
    .map(([, name]) => name ?? null);
}

function segmentOf(text: string, shapeOf?: PlaceholderShapes): Segment {
  if (variablesIn(text).length === 0) {
    const plain = text.replace(/\\([\s\S])/g, '$1');
    return { text, plain, match: (segment) => (segment === plain ? NOTHING : null), repeats: false };
  }
  return { text, plain: null, match: compileSegment(text, shapeOf), repeats: false };
}

function compileSegment(text: string, shapeOf: PlaceholderShapes = () => '[^/]+'): SegmentMatcher {
  const names: string[] = [];
  const marked = text.replace(VARIABLE, (variable, name?: string) => {
    if (name === undefined) return variable;
    names.push(name);
    return String.fromCharCode(FIRST_MARK + names.length - 1);
  });
  const escaped = marked.replace(/\\[\s\S]|[!+@()[\]{}|^$"]/g, (character) =>
    character.length > 1 ? character : `\\${character}`,
  );
  const { source } = picomatch.makeRe(escaped, OPTIONS);
  const expression = new RegExp(
    source.replace(/\\?([\ue000-\uf8ff])/g, (mark, character: string) => {
      const name = names[character.charCodeAt(0) - FIRST_MARK];
      return name === undefined ? mark : `(${shapeOf(name)})`;
    }),
    's',
  );
  return (segment) => {
    if (segment.length > MAX_NAME && text !== '*') return null;
    const found = expression.exec(segment);
    if (!found) return null;
    if (names.length === 0) return NOTHING;
    const captures: Record<string, string> = {};
    for (const [index, name] of names.entries()) captures[name] = found[index + 1] ?? '';
    return captures;
  };
}

function beginningOf(segment: string): string {
  const [first] = [...segment.matchAll(VARIABLE)].filter(([text]) => !text.startsWith('\\'));
  return segment.slice(0, first?.index ?? segment.length).replace(/\\([\s\S])/g, '$1');
}

/** Each `**` matches as few segments as possible. Only the last one has to be tried again, so this takes no long time. */
export function matchSegments(parts: readonly PathPart[], path: readonly string[]): Captures | null {
  let captures = NOTHING;
  let at = 0;
  let next = 0;
  let retry: { next: number; at: number; skips: SegmentMatcher } | null = null;
  while (at < path.length) {
    const part = parts[next];
    if (part?.repeats) {
      next += 1;
      retry = { next, at, skips: part.match };
      continue;
    }
    const found = part?.match(path[at] ?? '');
    if (found) {
      // A segment that is tried again replaces its captures.
      if (found !== NOTHING) captures = captures === NOTHING ? found : { ...captures, ...found };
      next += 1;
      at += 1;
    } else if (retry?.skips(path[retry.at] ?? '')) {
      retry.at += 1;
      ({ next, at } = retry);
    } else return null;
  }
  while (parts[next]?.repeats) next += 1;
  return next < parts.length ? null : captures;
}
