/**
 * The secrets of the environment, by the tables of variables: which values are masked, and which no task may have.
 */

import { type Environment, given } from './environment.ts';
import { fileVariables } from './secret-files.ts';
import type { Table } from './variable.ts';

/** The values that are masked in everything that is shown, whether tasks get them or not. */
export interface SecretsConfig {
  /** The values of our own variables that the tables mark as secret. */
  values: readonly string[];
  /** All other variables. Some have the name of a secret, and some are URLs with a password. */
  others: Readonly<Record<string, string>>;
}

export function secretsConfig(table: Table, environment: Environment): SecretsConfig {
  const values: string[] = [];
  const others: Record<string, string> = {};
  for (const [name, value = ''] of Object.entries(environment)) {
    const kind = table[name]?.secret;
    if (kind === 'all') values.push(value, value.trim(), ...keyInside(value));
    else if (kind === 'in_entries') values.push(...lastParts(value));
    else others[name] = value;
  }
  return { values: values.filter((value) => value !== ''), others };
}

/** The variables that no task, agent or drift target gets, not even by name. */
export function neverForTasks(table: Table): string[] {
  const own = Object.entries(table)
    .filter(([, { secret, forTasks = secret === undefined }]) => !forTasks)
    .map(([name]) => name);
  return [...own, ...fileVariables(table)];
}

/** The whole environment without the variables that no task may have. */
export function withoutOurs(table: Table, environment: Environment): Record<string, string> {
  const never = new Set(neverForTasks(table));
  return Object.fromEntries(Object.entries(given(environment)).filter(([name]) => !never.has(name)));
}

function lastParts(value: string): string[] {
  return value.split(',').map((entry) => /^\s*[^:\s]+:[^:\s]+:(\S+)\s*$/.exec(entry)?.[1] ?? entry.trim());
}

/** Secrets of Standard Webhooks are written as `whsec_` and the key. */
function keyInside(value: string): string[] {
  const [, key] = /^whsec_(.+)$/.exec(value.trim()) ?? [];
  return key === undefined ? [] : [key];
}
