/** The form of a variable, and how tables of variables are read from the environment. */

import type { z } from 'zod';
import { ConfigError } from '../errors.ts';
import type { Environment } from './environment.ts';

/** How values are read, and the words of the error for a wrong one: "expected …". */
export interface Shape<T> {
  schema: z.ZodType<T, string>;
  expected: string;
  example?: string;
}

interface Facts {
  description: string;
  /** The value when it is unset. */
  default?: string;
  /** Describes what holds when it is unset; its value is then null. Without this and a default it is required. */
  unset?: string;
  /** Left out: the example of the shape, or the default. If it begins with an article, it describes a value. */
  example?: string;
  /** The secret part of the value: all, the credentials in a URL, or the last part of each `a:b:secret` entry. */
  secret?: 'all' | 'in_url' | 'in_entries';
  /** The value is a list of variables for tasks or agents. */
  namesVariables?: true;
  /** True if TASK_ENV and AGENT_ENV may list it, and drift targets may use it. Left out: true if it is not secret. */
  forTasks?: boolean;
  /** True for a variable that .env.example fills in at its beginning, as it does with required ones. */
  recommended?: true;
}

/** One variable. Its type, its documentation and its masks are all made from this entry. */
export interface Variable<T> extends Facts {
  name: string;
  schema: z.ZodType<T, string | undefined>;
  expected: string;
  example: string;
}

/** The variables of a subject by the names that the program has for their values. */
export type Table = Readonly<Record<string, Variable<unknown>>>;

/** The types of the values of a table. */
export type ValuesOf<T extends Table> = { [Key in keyof T]: z.output<T[Key]['schema']> };

export function variable<T>(
  name: string,
  shape: Shape<T>,
  facts: Facts & { unset: string },
): Variable<T | null>;
export function variable<T>(name: string, shape: Shape<T>, facts: Facts): Variable<T>;
export function variable<T>(name: string, shape: Shape<T>, facts: Facts): Variable<T | null> {
  const { schema, expected } = shape;
  const example = facts.example ?? shape.example ?? facts.default ?? '';
  if (facts.unset === undefined) return { ...facts, name, schema, expected, example };
  const orNull = schema.optional().transform((value) => value ?? null);
  return { ...facts, name, schema: orNull, expected, example };
}

/**
 * Reads tables of variables. Throws ConfigError with a line for each wrong one; never with its value, which may be a
 * secret. A list of variables for tasks or agents must not contain one of `never`. `known` are problems that were found
 * elsewhere; the error has them, too.
 */
export function parse<T extends Readonly<Record<string, Table>>>(
  tables: T,
  environment: Environment,
  never: readonly string[] = [],
  known: readonly string[] = [],
): { [Subject in keyof T]: ValuesOf<T[Subject]> } {
  const problems: string[] = [];
  const read = (one: Variable<unknown>): unknown => {
    const given = environment[one.name]?.trim() === '' ? undefined : environment[one.name];
    const result = one.schema.safeParse(given ?? one.default);
    const ours = one.namesVariables && given !== undefined ? namedOf(never, result.data) : [];
    if (result.success && ours.length === 0) return result.data;
    const details = result.success ? [neverGet(ours)] : result.error.issues.flatMap(problemOf);
    problems.push([problemWith(one, given), ...details].join(' '));
    return undefined;
  };
  const values = mapValues(tables, (table) => mapValues(table, read));
  problems.push(...known);
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
  return values as { [Subject in keyof T]: ValuesOf<T[Subject]> };
}

function mapValues<T, R>(from: Readonly<Record<string, T>>, change: (value: T) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(from).map(([key, value]) => [key, change(value)]));
}

function namedOf(never: readonly string[], list: unknown): string[] {
  return [list]
    .flat()
    .map(String)
    .filter((name) => never.includes(name));
}

function neverGet(names: readonly string[]): string {
  return `Tasks never get ${names.join(', ')}.`;
}

/** The sentence of a schema's own check, which never contains a secret. */
function problemOf(issue: z.core.$ZodIssue): string[] {
  const problem: unknown = issue.code === 'custom' ? issue.params?.problem : undefined;
  return typeof problem === 'string' ? [problem] : [];
}

/** One line for the reader, without the value. */
export function problemWith(
  { name, expected, example }: Variable<unknown>,
  given: string | null = null,
): string {
  return `${name} ${given === null ? 'is missing' : 'is wrong'}: expected ${expected}, e.g. ${example}.`;
}
