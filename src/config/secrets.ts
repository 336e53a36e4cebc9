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

/** `file` has the secrets that CONFIG_FILE names. */
export function secretsConfig(
  table: Table,
  environment: Environment,
  file: SecretsConfig = { values: [], others: {} },
): SecretsConfig {
  const values = [...file.values];
  const others: Record<string, string> = { ...file.others };
  for (const [name, value = ''] of Object.entries(environment)) {
    const kind = table[name]?.secret;
    if (kind === 'all') values.push(value, value.trim(), ...keyInside(value));
    else if (kind === 'in_entries') values.push(...lastParts(value));
    else others[name] = value;
  }
  return { values: values.filter((value) => value !== ''), others };
}

/**
 * The variables that no task, agent or drift target gets, not even by name. `named` are those that CONFIG_FILE names as
 * the places of secrets.
 */
export function neverForTasks(table: Table, named: readonly string[] = []): string[] {
  const own = Object.entries(table)
    .filter(([, { secret, forTasks = secret === undefined }]) => !forTasks)
    .map(([name]) => name);
  return [...own, ...fileVariables(table), ...named];
}

/** The whole environment without these variables. */
export function without(never: readonly string[], environment: Environment): Record<string, string> {
  return Object.fromEntries(Object.entries(given(environment)).filter(([name]) => !never.includes(name)));
}

function lastParts(value: string): string[] {
  return value.split(',').map((entry) => /^\s*[^:\s]+:[^:\s]+:(\S+)\s*$/.exec(entry)?.[1] ?? entry.trim());
}

/** Secrets of Standard Webhooks are written as `whsec_` and the key. */
function keyInside(value: string): string[] {
  const [, key] = /^whsec_(.+)$/.exec(value.trim()) ?? [];
  return key === undefined ? [] : [key];
}
