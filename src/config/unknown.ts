/** Finds variables that look like ours and are none: mistakes that nobody would notice otherwise. */

import { distance } from '../nearest-name.ts';
import { type Environment, given } from './environment.ts';
import { fileVariables } from './secret-files.ts';
import type { Table } from './variable.ts';

/** Variables of other programs begin with these words, too. */
const WORDS_OF_OTHERS = new Set([
  'AGENT',
  'CONFIG',
  'EVENT',
  'GIT',
  'GITHUB',
  'LOG',
  'MAX',
  'PUBSUB',
  'REDIS',
  'WORKER',
]);

/**
 * A line for each of them, without its value. `table` holds every variable by its name. `named` are variables that
 * CONFIG_FILE names.
 */
export function unknownVariables(
  table: Table,
  environment: Environment,
  named: readonly string[] = [],
): string[] {
  const values = Object.keys(table);
  const files = fileVariables(table);
  const prefixes = ownPrefixes(values);
  const expected = new Set([...values, ...files, ...named, ...namedForOthers(table, environment)]);
  return Object.entries(given(environment)).flatMap(([name, value]) => {
    if (expected.has(name) || value.trim() === '' || isOfKubernetes(name, environment)) return [];
    const known = [...values, ...files.filter((file) => isOneLetterAway(name, file))];
    const isNear = known.some((one) => isOneLetterAway(name, one));
    if (!isNear && !prefixes.some((prefix) => name.startsWith(prefix))) return [];
    const nearest = known.reduce((best, one) => (distance(name, one) < distance(name, best) ? one : best));
    return [`${name} is not a variable of iac-runner; did you mean ${nearest}?`];
  });
}

/** The first words that several of our variables share, and our name. */
function ownPrefixes(known: readonly string[]): string[] {
  const words = known.map((name) => name.split('_', 1).join());
  const shared = words.filter((word, index) => words.indexOf(word) !== index && !WORDS_OF_OTHERS.has(word));
  return ['IAC_RUNNER_', ...new Set(shared.map((word) => `${word}_`))];
}

/** The variables that TASK_ENV and the like list. */
function namedForOthers(table: Table, environment: Environment): string[] {
  return Object.values(table)
    .filter(({ namesVariables }) => namesVariables)
    .flatMap((one) => (environment[one.name] ?? one.default ?? '').split(',').map((name) => name.trim()));
}

/** https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables */
function isOfKubernetes(name: string, environment: Environment): boolean {
  const [, service] = /^(.+?)_(?:SERVICE_(?:HOST|PORT)|PORT)(?:_|$)/.exec(name) ?? [];
  return service !== undefined && environment[`${service}_SERVICE_HOST`] !== undefined;
}

function isOneLetterAway(one: string, other: string): boolean {
  return Math.abs(one.length - other.length) <= 1 && distance(one, other) === 1;
}
