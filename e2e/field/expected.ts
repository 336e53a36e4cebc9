/**
 * Says what a push has to run by the names of its changed files and the rules alone. It shares no code with the program:
 * both read the rules by their documentation.
 */

import { parse } from 'yaml';
import { z } from 'zod';

/** These are shared if the file has no list of its own. */
const USUALLY_SHARED = [
  'libs',
  'tasks',
  'tasks.py',
  ...['yaml', 'yml', 'json', 'py'].map((end) => `invoke.${end}`),
];

const rulesSchema = z.looseObject({
  services: z.array(
    z.looseObject({
      match: z.string(),
      id: z.string(),
      run: z.array(z.string()).optional(),
      task: z.string().nullish(),
      verify: z.array(z.string()).optional(),
      inputs: z.array(z.string()).optional(),
    }),
  ),
  shared: z
    .array(
      z.union([
        z.string(),
        z.object({ path: z.string(), services: z.union([z.literal('all'), z.array(z.string())]) }),
      ]),
    )
    .default(USUALLY_SHARED),
  ignore: z.array(z.string()).default([]),
  exclude: z.array(z.string()).default([]),
});

export type FieldRules = z.infer<typeof rulesSchema>;

/** Reads a rules file. Every rule needs an `id`. */
export function readFieldRules(text: string): FieldRules {
  return rulesSchema.parse(parse(text));
}

interface Service {
  id: string;
  folder: string;
  dependsOn(path: string): boolean;
}

export interface ExpectedPush {
  ran: string[];
  removed: string[];
  /** The services that the answer names. */
  announced: string[];
}

interface PushedFiles {
  /** The regular files of the commits before and after the push. */
  before: readonly string[];
  after: readonly string[];
  /** The files that differ between the two. */
  changed: readonly string[];
  /** The files that each commit of the push lists. */
  listed: readonly string[];
}

export function expectedOf(rules: FieldRules, push: PushedFiles): ExpectedPush {
  const earlier = servicesIn(rules, push.before);
  const now = servicesIn(rules, push.after);
  const ran = [...now.values()].filter((service) => {
    const moved = earlier.get(service.id)?.folder !== service.folder;
    return moved || push.changed.some((path) => touches(rules, path, service));
  });
  const known = [...earlier.values(), ...now.values()];
  return {
    ran: ran.map(({ id }) => id).sort(),
    removed: [...earlier.keys()].filter((id) => !now.has(id)).sort(),
    announced: [...new Set(push.listed.flatMap((path) => announcedBy(rules, path, known)))].sort(),
  };
}

/** The services that run, by id. Ids that several folders have are left out. */
export function servicesIn(rules: FieldRules, paths: readonly string[]): Map<string, Service> {
  const matchers = rules.services.map(({ match }) => expressionOf(match, {}));
  const found = new Map<string, { position: number; folder: string; places: Record<string, string> }>();
  for (const path of paths) {
    for (const [position, matcher] of matchers.entries()) {
      const places = matcher.exec(path)?.groups;
      if (!places) continue;
      const folder = path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '.';
      const key = `${folder}\0${places.service}`;
      const other = found.get(key);
      if (!other || position < other.position) found.set(key, { position, folder, places: { ...places } });
      break;
    }
  }
  const services = [...found.values()].flatMap(({ position, folder, places }) => {
    const rule = rules.services[position];
    return rule ? [serviceOf(rules, rule, folder, places)] : [];
  });
  const byId = Map.groupBy(
    services.flatMap((service) => service ?? []),
    ({ id }) => id,
  );
  return new Map(
    [...byId].flatMap(([id, [first, ...more]]) => (first && more.length === 0 ? [[id, first]] : [])),
  );
}

function serviceOf(
  rules: FieldRules,
  rule: FieldRules['services'][number],
  folder: string,
  places: Record<string, string>,
): Service | null {
  const id = rule.id.replaceAll(/\{([^}]+)\}/g, (_text, name: string) => places[name] ?? '');
  if (rules.exclude.includes(id) || rule.task === null) return null;
  const all = { ...places, id, folder, environment: '' };
  const inputs = rule.inputs?.map((input) => decisionBy(input, all)) ?? [decisionBy('{folder}', all)];
  return { id, folder, dependsOn: (path) => lastDecision(inputs, path) };
}

interface Decision {
  matches(path: string): boolean;
  isIn: boolean;
}

function decisionBy(pattern: string, places: Record<string, string>): Decision {
  const isIn = !pattern.startsWith('!');
  const text = isIn ? pattern : pattern.slice(1);
  if (text.replace('{folder}', places.folder ?? '') === '.') return { isIn, matches: () => true };
  const expression = expressionOf(text, places, !/[*?]/.test(text));
  return { isIn, matches: (path) => expression.test(path) };
}

function lastDecision(decisions: readonly Decision[], path: string): boolean {
  return decisions.findLast(({ matches }) => matches(path))?.isIn ?? false;
}

const SHAPES: Record<string, string> = { service: '[a-z0-9][a-z0-9._-]*', nn: '[0-9]{1,9}' };

/** Placeholders with a known text are that text, and others are groups. */
function expressionOf(glob: string, places: Record<string, string>, orBelow = false): RegExp {
  const source = glob.split(/(\*\*\/|\*\*|\*|\?|\{[A-Za-z_][A-Za-z0-9_-]*\})/).map((part) => {
    if (part === '**/') return '(?:.*/)?';
    if (part === '**') return '.+';
    if (part === '*') return '[^/]*';
    if (part === '?') return '[^/]';
    const name = /^\{(.+)\}$/.exec(part)?.[1];
    if (name === undefined) return RegExp.escape(part);
    const known = places[name];
    return known === undefined
      ? `(?<${name}>${SHAPES[name] ?? '[A-Za-z0-9][A-Za-z0-9._-]*'})`
      : RegExp.escape(known);
  });
  return new RegExp(`^${source.join('')}${orBelow ? '(?:/.*)?' : ''}$`, 's');
}

/** The services on which the file counts because of `shared`; null for all of them. */
function sharedBy(rules: FieldRules, path: string): (readonly string[] | null)[] {
  const matching = rules.shared
    .map((entry) => (typeof entry === 'string' ? { path: entry, services: 'all' as const } : entry))
    .filter((entry) => decisionBy(entry.path, {}).matches(path))
    .map(({ path: pattern, services }) => ({
      length: pattern.replace(/\/?[*?][\s\S]*/, '').length,
      services: services === 'all' ? null : services,
    }));
  const longest = Math.max(...matching.map(({ length }) => length));
  return matching.filter(({ length }) => length === longest).map(({ services }) => services);
}

function isIgnored({ ignore }: FieldRules, path: string): boolean {
  return lastDecision(
    ignore.map((pattern) => decisionBy(pattern, {})),
    path,
  );
}

function touches(rules: FieldRules, path: string, service: Service): boolean {
  if (isIgnored(rules, path)) return false;
  const isShared = sharedBy(rules, path).some((services) => services?.includes(service.id) ?? true);
  return isShared || service.dependsOn(path);
}

function announcedBy(rules: FieldRules, path: string, known: readonly Service[]): string[] {
  if (isIgnored(rules, path)) return [];
  const shared = sharedBy(rules, path).flatMap((services) => services ?? ['__all__']);
  return [...shared, ...known.flatMap(({ id, dependsOn }) => (dependsOn(path) ? id : []))];
}
