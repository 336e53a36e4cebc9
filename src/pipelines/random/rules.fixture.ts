/** For tests: random rules files for a layout. They are written as JSON, which is YAML. */

import { discoverServices } from '../rules/discover-services.ts';
import { parseRulesFile } from '../rules/rules-file.ts';
import { DEFAULT_RULES, RULES_FILE } from '../rules/service-rules.ts';
import type { Chance } from './chance.fixture.ts';
import { EXECUTABLE, type Files, REGULAR } from './files.fixture.ts';
import type { RandomLayout } from './layouts.fixture.ts';

export const ENVIRONMENTS = ['staging', 'production'] as const;

type Fields = Record<string, unknown>;

export function randomRules(chance: Chance, layout: RandomLayout, files: Files): string {
  const { happens, below } = chance;
  const services =
    layout.hasBuiltInRules && happens(0.3)
      ? undefined
      : [serviceRule(chance, layout), ...(happens(0.25) ? [otherRule(chance, layout)] : [])];
  if (services && services.length > 1 && happens(0.3)) services.reverse();
  const ids = idsAt(JSON.stringify({ services }), files);
  const named = (probability: number) => (ids.length > 0 && happens(probability) ? ids : null);
  const needed = named(0.5) && needsOf(chance, ids);
  const excluded = named(0.2);
  const limited = named(0.1);
  return JSON.stringify({
    services,
    shared: happens(0.6) ? sharedPaths(chance, layout, ids) : undefined,
    ignore: happens(0.35) ? ignored(chance, layout) : undefined,
    needs: needed ?? undefined,
    exclude: excluded ? chance.some(excluded, 2) : undefined,
    timeouts: limited ? { [chance.pick(limited)]: 60 + below(60) } : undefined,
  });
}

/** Replaces some parts of the rules by those of others, or removes them. */
export function mixedRules({ happens }: Chance, one: string, other: string): string {
  const rules = fieldsOf(one);
  for (const [name, value] of Object.entries({ ...rules, ...fieldsOf(other) })) {
    if (happens(0.3)) rules[name] = fieldsOf(other)[name];
    else if (name === 'services' && Array.isArray(value) && happens(0.5)) {
      const [first, ...rest]: unknown[] = value;
      const kept = Object.entries(toFields(first)).filter(
        ([field]) => ['match', 'id', 'run', 'task'].includes(field) || happens(0.7),
      );
      rules[name] = [Object.fromEntries(kept), ...rest];
    }
  }
  return JSON.stringify(rules);
}

/** A broken file has no fields. */
function fieldsOf(text: string): Fields {
  try {
    return toFields(JSON.parse(text));
  } catch {
    return {};
  }
}

function toFields(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

/** True if the rules can be read and no two services have one id, so that a sync of all services succeeds. */
export function isSound(files: Files): boolean {
  const file = files.get(RULES_FILE);
  const parsed = file ? parseRulesFile(file.content) : { ok: true as const, rules: DEFAULT_RULES };
  if (!parsed.ok || (file && !isRegular(file.mode))) return false;
  return discoverServices(regularPaths(files), parsed.rules).duplicates.length === 0;
}

export function brokenRules({ pick, below }: Chance, text: string): string {
  return pick([
    'needs:\n  platform/a: nonsense\n',
    `${text.slice(0, 1 + below(text.length))}"`,
    JSON.stringify({ ...fieldsOf(text), exclude: ['no/rule/makes/this'] }),
    JSON.stringify({ ...fieldsOf(text), needs: { a: ['a'] } }),
  ]);
}

function isRegular(mode: string): boolean {
  return mode === REGULAR || mode === EXECUTABLE;
}

function regularPaths(files: Files): string[] {
  return [...files].flatMap(([path, { mode }]) => (isRegular(mode) ? path : []));
}

function idsAt(text: string, files: Files): string[] {
  const parsed = parseRulesFile(text);
  if (!parsed.ok) throw new Error(`These random rules are wrong: ${text} ${JSON.stringify(parsed.problems)}`);
  const { services } = discoverServices(regularPaths(files), parsed.rules);
  return services.map(({ id }) => id).toSorted();
}

function serviceRule(chance: Chance, layout: RandomLayout): Fields {
  const { pick, happens, below } = chance;
  const isFile = layout.inside.length === 0;
  return {
    match: layout.match,
    id: pick(layout.ids) ?? undefined,
    ...commandFields(chance),
    cwd: happens(0.25) ? pick(['{folder}', '.', 'libs']) : undefined,
    wave: happens(0.2) ? pick([below(3), layout.match.includes('{nn}') ? '{nn}' : 1]) : undefined,
    inputs: isFile || happens(0.4) ? inputs(chance, layout) : undefined,
    config: happens(0.25) ? [`{folder}/${pick(['compose.yaml', 'conf/a b.yml'])}`, layout.shared] : undefined,
    environments: happens(0.25) ? chance.some(ENVIRONMENTS, 2) : undefined,
    secrets: happens(0.15) ? pick([[], ['DB_TOKEN'], ['DB_TOKEN', 'WEB_TOKEN']]) : undefined,
    verify: happens(0.25) ? ['check', pick(['{id}', '{environment}'])] : undefined,
    timeout: happens(0.1) ? 60 : undefined,
  };
}

function commandFields({ pick, happens }: Chance): Fields {
  if (happens(0.3)) return { task: pick(['{service}.sync', 'deploy', 'up']) };
  return {
    run: pick([
      ['make', '-C', '{folder}'],
      ['sh', 'up', '{id}'],
      ['up', '{environment}', '{revision}'],
    ]),
  };
}

/** A rule that makes services of other files, and of files that the first rule knows as well. */
function otherRule(chance: Chance, { marker, match }: RandomLayout): Fields {
  const command = chance.happens(0.2) ? { task: null } : commandFields(chance);
  return chance.pick<Fields>([
    { match: '**/conf/{service}.sh', id: 'conf/{service}', ...command, inputs: ['{folder}/{service}.sh'] },
    { match: '**/{service}/compose.yaml', ...command },
    { match: `deep/**/{service}${marker === '' ? '.yml' : marker}`, id: 'deep/{service}', ...command },
    { match: match.replace('{service}', 'a{service}'), id: 'short/{service}', ...command },
    { match: '{service}.txt', id: 'root/{service}', ...command, inputs: ['{service}.txt', 'libs'] },
  ]);
}

function inputs({ pick, happens, some }: Chance, { inside, match, shared }: RandomLayout): string[] {
  const own = inside.length === 0 ? match : pick(['{folder}', '{folder}/**', '{folder}/*']);
  const more = ['libs', 'libs/**', 'libs/*/deep.txt', shared, '**/README.md', '{folder}/conf/?*.yml'];
  const less = ['!**/*.md', '!{folder}/conf/**', '!libs/two', '!**/a b.yml', '!**/deep.*'];
  return [
    own,
    ...(happens(0.6) ? some(more, 2) : []),
    ...(happens(0.7) ? some(less, 2) : []),
    ...(happens(0.3) ? ['{folder}/conf/a b.yml'] : []),
  ];
}

function ignored({ pick, happens, some }: Chance, { shared }: RandomLayout): string[] {
  const globs = some(['**/*.md', 'docs/**', '**/conf/**', 'libs/one.txt', '**/a b.yml', shared, '*.txt'], 3);
  return happens(0.3) ? [...globs, pick(['!**/README.md', '!**/conf/new*'])] : globs;
}

function sharedPaths(chance: Chance, { shared }: RandomLayout, ids: readonly string[]): unknown[] {
  const paths = [
    'libs',
    'libs/**',
    'libs/two',
    'libs/*/deep.txt',
    'libs/t*',
    shared,
    '*.txt',
    '**/README.md',
  ];
  return chance.some(paths, 3).map((path) => {
    if (chance.happens(0.4)) return path;
    const services = ids.length === 0 || chance.happens(0.2) ? 'all' : chance.some(ids, 3);
    return { path, services };
  });
}

/** Each service may need some of those before it, in an order by chance, so there is no circle. */
function needsOf({ happens, some, random }: Chance, ids: readonly string[]): Record<string, string[]> {
  const order = ids.map((id) => ({ id, at: random() })).toSorted((one, other) => one.at - other.at);
  const needs = order.flatMap(({ id }, place): [string, string[]][] => {
    const earlier = order.slice(0, place).map((other) => other.id);
    return earlier.length > 0 && happens(0.5) ? [[id, some(earlier, 2)]] : [];
  });
  return Object.fromEntries(needs);
}
