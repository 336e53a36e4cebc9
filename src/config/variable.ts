/** What a variable is, and how tables of them are read from the environment. */

import type { z } from 'zod';
import { ConfigError } from '../errors.ts';
import type { Environment } from './environment.ts';

/** A form of values: how they are read, and what is expected, in the words of an error: "expected …". */
export interface Shape<T> {
  schema: z.ZodType<T, string>;
  expected: string;
  example?: string;
}

interface Facts {
  description: string;
  /** What is read when it is unset. */
  default?: string;
  /** What holds when it is unset and reads as null. Without this and a default the variable is required. */
  unset?: string;
  /** Unset: that of the shape, or the default. An article at its beginning says that it describes a value. */
  example?: string;
  /** What of the value is secret: all of it, the credentials in a URL, or the last part of each `a:b:secret` entry. */
  secret?: 'all' | 'in_url' | 'in_entries';
  /** The value is a list of variables for tasks or agents. */
  namesVariables?: true;
  /** Whether tasks may have it when they ask for it by name. Unset: if it is not secret. */
  forTasks?: boolean;
  /** Stands uncommented among the first of .env.example, as required ones do. */
  recommended?: true;
}

/** One variable: everything that follows from it is made from this entry. */
export interface Variable<T> extends Facts {
  name: string;
  schema: z.ZodType<T, string | undefined>;
  expected: string;
  example: string;
}

/** The variables of a subject by the names that the program has for their values. */
export type Table = Readonly<Record<string, Variable<unknown>>>;

/** What the variables of a table are read as. */
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
 * Reads tables of variables. Throws ConfigError with a line for each that is wrong; never with its value, which may be
 * a secret. A list of variables for tasks that holds one of `never` is wrong, too.
 */
export function parse<T extends Readonly<Record<string, Table>>>(
  tables: T,
  environment: Environment,
  never: readonly string[] = [],
): { [Subject in keyof T]: ValuesOf<T[Subject]> } {
  const problems: string[] = [];
  const read = (one: Variable<unknown>): unknown => {
    const given = environment[one.name]?.trim() === '' ? undefined : environment[one.name];
    const result = one.schema.safeParse(given ?? one.default);
    const isOurs = one.namesVariables && [result.data].flat().some((name) => never.includes(String(name)));
    if (result.success && !isOurs) return result.data;
    const details = result.success ? [] : result.error.issues.flatMap(problemOf);
    problems.push([problemWith(one, given), ...details].join(' '));
    return undefined;
  };
  const values = mapValues(tables, (table) => mapValues(table, read));
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
  return values as { [Subject in keyof T]: ValuesOf<T[Subject]> };
}

function mapValues<T, R>(from: Readonly<Record<string, T>>, change: (value: T) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(from).map(([key, value]) => [key, change(value)]));
}

/** What a schema says of its own in a sentence, which never holds a secret. */
function problemOf(issue: z.core.$ZodIssue): string[] {
  const problem: unknown = issue.code === 'custom' ? issue.params?.problem : undefined;
  return typeof problem === 'string' ? [problem] : [];
}

/** One line for the reader, without the value, which may be a secret. */
export function problemWith(
  { name, expected, example }: Variable<unknown>,
  given: string | null = null,
): string {
  return `${name} ${given === null ? 'is missing' : 'is wrong'}: expected ${expected}, e.g. ${example}.`;
}
