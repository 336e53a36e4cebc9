/** The shapes of variables: which values are accepted, and what they are read as. */

import path from 'node:path';
import { z } from 'zod';
import { SECOND } from '../units.ts';
import type { Shape } from './variable.ts';

/** These are no secrets, because they stand in examples everywhere. */
const PLACEHOLDERS = new Set([
  'changeme',
  'change-me',
  'secret',
  'password',
  'placeholder',
  'your-secret',
  'your_secret',
  'your-webhook-secret',
  'webhook-secret',
  'webhook_secret',
  'todo',
  'xxx',
  'put-a-token-here',
]);

export function isPlaceholder(value: string): boolean {
  return PLACEHOLDERS.has(value.toLowerCase());
}

export const text = z.string().trim();

export function anyText(expected: string): Shape<string> {
  return { schema: text, expected };
}

export function matching(pattern: RegExp, expected: string): Shape<string> {
  return { schema: text.regex(pattern), expected };
}

/** The number is multiplied by `unit`. */
export function wholeNumber(least: number, most: number, unit = 1): Shape<number> {
  return {
    schema: text
      .regex(/^\d{1,9}$/)
      .transform(Number)
      .refine((value) => value >= least && value <= most)
      .transform((value) => value * unit),
    expected: `a whole number from ${least} to ${most}`,
  };
}

export function aSecret(expected: string): Shape<string> {
  return { schema: text.min(8).refine((value) => !isPlaceholder(value)), expected };
}

export const count = wholeNumber(1, 9_999);

const duration = text.regex(/^\d{1,7}$/).transform((value) => Number(value) * SECOND);
/** The next three are read as milliseconds. */
export const seconds: Shape<number> = { schema: duration, expected: 'a number of seconds' };
export const positiveSeconds: Shape<number> = {
  schema: duration.refine((value) => value > 0),
  expected: 'a number of seconds above 0',
};
export const leaseSeconds: Shape<number> = {
  schema: duration.refine((value) => value >= 10_000 && value <= 600_000),
  expected: 'whole seconds from 10 to 600',
};

export const flag: Shape<boolean> = {
  schema: z.enum(['true', 'false']).transform((value) => value === 'true'),
  expected: 'true or false',
  example: 'true',
};

export const httpUrl: Shape<string> = {
  schema: text
    .refine((value) => /^https?:\/\//i.test(value) && URL.canParse(value))
    .transform((value) => value.replace(/\/+$/, '')),
  expected: 'an http(s) URL',
};

/** 32 characters may begin or end with a blank. */
export const key: Shape<string> = {
  schema: z
    .string()
    .refine(
      (value) =>
        /^\s*([0-9a-f]{64}|[A-Za-z0-9+/]{43}=)\s*$/i.test(value) ||
        [value, value.trim()].some((bytes) => Buffer.byteLength(bytes) === 32),
    )
    .transform((value) => value.trim()),
  expected: 'a key of 32 bytes: 64 hexadecimal digits, 44 characters of base64, or 32 characters',
};

export const words: Shape<readonly [string, ...string[]]> = {
  schema: text
    .min(1)
    .refine((value) => !/["'`$;&|<>\\]/.test(value))
    .transform((value) => value.split(/\s+/) as [string, ...string[]]),
  expected: 'a program and its arguments, without quotes or other shell syntax',
};

/** A list, separated by commas, each once. */
export function listOf(isGood: (entry: string) => boolean, expected: string): Shape<string[]> {
  return {
    schema: text
      .transform((value) => [...new Set(value.split(',').map((entry) => entry.trim()))].filter(Boolean))
      .refine((list) => list.every(isGood)),
    expected,
  };
}

export const environmentNames = listOf(
  (name) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name),
  'names of variables, comma-separated, none of those that tasks never get (docs/tasks.md)',
);
export const hosts = listOf(
  (host) => /^(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:\d{1,5})?$/i.test(host),
  'names of hosts, comma-separated, each with or without a port',
);

export const absolutePath: Shape<string> = {
  schema: text.refine((value) => path.isAbsolute(value)),
  expected: 'an absolute path',
};
