/** Secrets in files: `X_FILE` names a file with the value of the variable `X`, as Docker and Kubernetes provide secrets. */

import { ConfigError } from '../errors.ts';
import { KIBIBYTE } from '../units.ts';
import type { Environment } from './environment.ts';
import { readTextFile } from './text-file.ts';
import type { Table } from './variable.ts';

const MAX_BYTES = 64 * KIBIBYTE;

/** The name of the variable that holds the path, in place of the secret itself. */
function fileVariable(name: string): string {
  return `${name}_FILE`;
}

/** The names of the variables that hold the path of a secret. */
export function fileVariables(table: Table): string[] {
  return Object.entries(table).flatMap(([name, { secret }]) => (secret ? [fileVariable(name)] : []));
}

/**
 * Returns the environment with the contents of the files in place of their paths, each without its final newline. `table`
 * holds variables by their names; files of others are not read. Throws ConfigError with a line for each file that is wrong.
 */
export function withSecretFiles(table: Table, environment: Environment): Environment {
  const problems: string[] = [];
  const complete: Record<string, string | undefined> = { ...environment };
  for (const [name, { secret }] of Object.entries(table)) {
    const path = environment[fileVariable(name)]?.trim();
    if (!secret || !path) continue;
    delete complete[fileVariable(name)];
    if (environment[name]?.trim()) {
      problems.push(`${name} and ${fileVariable(name)} are both set. Remove one of them.`);
      continue;
    }
    const content = readSecretFile(path);
    if (content.ok) complete[name] = content.value;
    else problems.push(`${fileVariable(name)} names the file${shown(path)}, but ${content.problem}`);
  }
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
  return complete;
}

/** The value may be the secret itself, by mistake. */
function shown(path: string): string {
  return path.startsWith('/') ? ` ${path}` : '';
}

/** Returns the content of the file without its final newline. `problem` goes on after "…, but ". */
export function readSecretFile(path: string): { ok: true; value: string } | { ok: false; problem: string } {
  const content = readTextFile(path, { maxBytes: MAX_BYTES, expected: 'a secret' });
  if (!content.ok) return content;
  const value = content.text.replace(/\r?\n$/, '');
  if (value.trim() === '') return { ok: false, problem: 'it is empty. Write the secret into it.' };
  return { ok: true, value };
}
