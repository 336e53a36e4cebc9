/** What a variable is, and how tables of them are read from the environment. */

import type { z } from 'zod';
import { ConfigError } from '../errors.ts';
import type { Environment } from './environment.ts';

/** One variable: how it is read, what stands in the documentation, and an example for the error. */
export interface Variable<T> {
  schema: z.ZodType<T, string | undefined>;
  /** What is expected, in the words of an error: "expected …". */
  expected: string;
  example: string;
  description: string;
  /** What holds when it is unset; shown, and parsed like a given value unless it begins with "(". */
  default: string;
  /** What of the value is secret: all of it, the credentials in a URL, or the last part of each `a:b:secret` entry. */
  secret?: 'all' | 'in_url' | 'in_entries';
  /** The value is a list of variables for tasks or agents. */
  namesVariables?: true;
  /** Whether tasks may have it when they ask for it by name. Unset: if it is not secret. */
  forTasks?: boolean;
}

export type Table = Readonly<Record<string, Variable<unknown>>>;

/** What the variables of a table are read as. */
export type ValuesOf<T extends Table> = { [Name in keyof T]: z.output<T[Name]['schema']> };

export function variable<T>(definition: Variable<T>): Variable<T> {
  return definition;
}

/**
 * Reads all variables of a table. Throws ConfigError with a line for each that is wrong; never with its value, which
 * may be a secret. A list of variables for tasks that holds one of `never` is wrong, too.
 */
export function parse<T extends Table>(
  table: T,
  environment: Environment,
  never: readonly string[] = [],
): ValuesOf<T> {
  const problems: string[] = [];
  const entries = Object.entries(table).map(([name, { schema, default: fallback, namesVariables }]) => {
    const given = environment[name]?.trim() === '' ? undefined : environment[name];
    const result = schema.safeParse(given ?? (fallback.startsWith('(') ? undefined : fallback));
    const isOurs = namesVariables && [result.data].flat().some((one) => never.includes(String(one)));
    if (result.success && !isOurs) return [name, result.data];
    const details = result.success ? [] : result.error.issues.flatMap(problemOf);
    problems.push([problemWith(table, name, given), ...details].join(' '));
    return [name, undefined];
  });
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
  return Object.fromEntries(entries) as ValuesOf<T>;
}

/** What a schema says of its own in a sentence, which never holds a secret. */
function problemOf(issue: z.core.$ZodIssue): string[] {
  const problem: unknown = issue.code === 'custom' ? issue.params?.problem : undefined;
  return typeof problem === 'string' ? [problem] : [];
}

/** One line for the reader, without the value, which may be a secret. */
export function problemWith<Name extends string>(
  table: Readonly<Record<Name, Variable<unknown>>>,
  name: Name,
  given: string | undefined,
): string {
  const { expected, example } = table[name];
  return `${name} ${given === undefined ? 'is missing' : 'is wrong'}: expected ${expected}, e.g. ${example}.`;
}
