/** The ids of services: the default id of a folder, and the ids that a rule can make. */

import { MAX_NAME, matchSegments, NOTHING, type PathPart, variablesIn } from './patterns/glob.ts';
import { expand, type Places, placeholdersIn } from './patterns/placeholders.ts';
import type { ServiceRule } from './service-rules.ts';

const SHAPES: Readonly<Record<string, string>> = {
  service: '[a-z0-9][a-z0-9._-]*',
  nn: '\\d{1,9}',
};
const USUAL_SHAPE = '[A-Za-z0-9][A-Za-z0-9._-]*';
const ANY_ID_SEGMENT = '[A-Za-z0-9][A-Za-z0-9._-]*';

/** The regular expression of the texts that a placeholder of `match` matches. */
export function shapeOf(name: string): string {
  return Object.hasOwn(SHAPES, name) ? (SHAPES[name] ?? USUAL_SHAPE) : USUAL_SHAPE;
}

/** The id of a service. Without an `id` in its rule it is the path of the folder, and at the root its name. */
export function idOf({ id }: ServiceRule, folder: string, places: Places): string {
  if (id !== undefined) return expand(id, places);
  const segments = folder.split('/').map((segment) => withoutOddCharacters(withoutNumber(segment)));
  return segments.filter((segment) => segment !== '').join('/') || (places.service ?? '');
}

function withoutNumber(segment: string): string {
  return segment.replace(/^(?:\{nn\}|\d+)[._-](?=.)/s, '');
}

function withoutOddCharacters(segment: string): string {
  return segment.replace(/[^A-Za-z0-9._-]+/g, '-').replace(/^[._-]+/, '');
}

/** Returns a function that is true for ids of which a rule can make a service, whether or not there is a folder. */
export function createIdCheck(rules: readonly ServiceRule[]): (id: string) => boolean {
  const shapes = new Map<string, readonly PathPart[]>();
  for (const rule of rules) {
    const texts = shapesOfIds(rule);
    const key = JSON.stringify(texts);
    if (!shapes.has(key)) shapes.set(key, texts.map(partOf));
  }
  return (id) => {
    const segments = id.split('/');
    const isShort = segments.every(({ length }) => length <= MAX_NAME);
    return isShort && [...shapes.values()].some((parts) => matchSegments(parts, segments) !== null);
  };
}

/** The segments are compared one by one, because one expression for all of them would try every combination. */
function partOf(shape: string | null): PathPart {
  const expression = new RegExp(`^(?:${shape ?? ANY_ID_SEGMENT})$`);
  return { match: (segment) => (expression.test(segment) ? NOTHING : null), repeats: shape === null };
}

/** The regular expressions of the segments of the ids. Null stands for any number of segments. */
function shapesOfIds({ id, match }: ServiceRule): (string | null)[] {
  if (id !== undefined) return id.split('/').map((part) => shapeOfText(part, (text) => text));
  const folders = match.split('/').slice(0, -1);
  if (folders.length === 0) return [shapeOf('service')];
  return folders.map(shapeOfFolder).filter((shape) => shape !== '');
}

function shapeOfFolder(segment: string): string | null {
  if (segment === '**') return null;
  const text = withoutNumber(segment);
  if (variablesIn(text).includes(null)) return ANY_ID_SEGMENT;
  return shapeOfText(text.replace(/^[._-]+/, ''), (part) => part.replace(/[^A-Za-z0-9._-]+/g, '-'));
}

function shapeOfText(text: string, clean: (text: string) => string): string {
  const parts = text.split(/(\{[A-Za-z_][A-Za-z0-9_-]*\})/).map((part) => {
    const [name] = placeholdersIn(part);
    return name === undefined ? RegExp.escape(clean(part)) : shapeOf(name);
  });
  return parts.join('');
}
