/** What of the environment is secret, by the tables of variables: what is masked, and what no task may have. */

import { type Environment, given } from './environment.ts';
import type { Table } from './variable.ts';

/** What is masked in everything that is shown, whether tasks get it or not. */
export interface SecretsConfig {
  /** Values of our own variables, as the tables mark them. */
  values: readonly string[];
  /** All other variables that are set: some have a secret's name, or a URL with a password. */
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

/** The variables that no task gets, not even when it asks for them by name. */
export function neverForTasks(table: Table): string[] {
  return Object.entries(table)
    .filter(([, { secret, forTasks = secret === undefined }]) => !forTasks)
    .map(([name]) => name);
}

/** All that is set, except what no task may have. */
export function withoutOurs(table: Table, environment: Environment): Record<string, string> {
  const never = new Set(neverForTasks(table));
  return Object.fromEntries(Object.entries(given(environment)).filter(([name]) => !never.has(name)));
}

function lastParts(value: string): string[] {
  return value.split(',').map((entry) => /^\s*[^:\s]+:[^:\s]+:(\S+)\s*$/.exec(entry)?.[1] ?? entry.trim());
}

/** Secrets of Standard Webhooks are told as `whsec_` and the key. */
function keyInside(value: string): string[] {
  const [, key] = /^whsec_(.+)$/.exec(value.trim()) ?? [];
  return key === undefined ? [] : [key];
}
