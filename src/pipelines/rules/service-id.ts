/** The ids of services: the default id of a folder, and the ids that a rule can make. */

import { MAX_NAME, variablesIn } from './patterns/glob.ts';
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
  const shapes = [...new Set(rules.map(shapeOfIds))].map((shape) => new RegExp(`^(?:${shape})$`));
  return (id) =>
    id.split('/').every(({ length }) => length <= MAX_NAME) && shapes.some((shape) => shape.test(`${id}/`));
}

/** The regular expression of the ids, each with a slash at its end. */
function shapeOfIds({ id, match }: ServiceRule): string {
  if (id !== undefined) return `${shapeOfText(id, (text) => text)}/`;
  const folders = match.split('/').slice(0, -1);
  if (folders.length === 0) return `${shapeOf('service')}/`;
  return folders.map(shapeOfFolder).join('');
}

function shapeOfFolder(segment: string): string {
  if (segment === '**') return `(?:${ANY_ID_SEGMENT}/)*`;
  const text = withoutNumber(segment);
  if (variablesIn(text).includes(null)) return `${ANY_ID_SEGMENT}/`;
  const cleaned = shapeOfText(text.replace(/^[._-]+/, ''), (part) => part.replace(/[^A-Za-z0-9._-]+/g, '-'));
  return cleaned && `${cleaned}/`;
}

function shapeOfText(text: string, clean: (text: string) => string): string {
  const parts = text.split(/(\{[A-Za-z_][A-Za-z0-9_-]*\})/).map((part) => {
    const [name] = placeholdersIn(part);
    return name === undefined ? RegExp.escape(clean(part)) : shapeOf(name);
  });
  return parts.join('');
}
