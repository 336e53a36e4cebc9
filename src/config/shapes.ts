/** The shapes that values of variables have: what is accepted, and what it is read as. */

import path from 'node:path';
import { z } from 'zod';

const SECOND_MS = 1_000;

/** Secrets nobody may run with: they stand in examples everywhere. */
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
export const seconds = text.regex(/^\d{1,7}$/).transform((value) => Number(value) * SECOND_MS);
export const positiveSeconds = seconds.refine((value) => value > 0);
export const count = text.regex(/^[1-9]\d{0,3}$/).transform(Number);
export const port = text
  .regex(/^\d{1,5}$/)
  .transform(Number)
  .refine((value) => value <= 65_535);
export const httpUrl = text
  .refine((value) => /^https?:\/\//i.test(value) && URL.canParse(value))
  .transform((value) => value.replace(/\/+$/, ''));
export const secret = text.min(8).refine((value) => !isPlaceholder(value));
export const optionalText = text.optional().transform((value) => value || null);
/** 64 hexadecimal digits, 44 characters of base64, or 32 bytes as they are, which may begin or end with a blank. */
export const optionalKey = z
  .string()
  .refine(
    (value) =>
      /^\s*([0-9a-f]{64}|[A-Za-z0-9+/]{43}=)\s*$/i.test(value) ||
      [value, value.trim()].some((key) => Buffer.byteLength(key) === 32),
  )
  .transform((value) => value.trim())
  .optional()
  .transform((value) => value ?? null);
export const words = text
  .min(1)
  .refine((value) => !/["'`$;&|<>\\]/.test(value))
  .transform((value) => value.split(/\s+/) as [string, ...string[]]);
export const flag = z.enum(['true', 'false']).transform((value) => value === 'true');
export const optionalCount = text
  .regex(/^[1-9]\d{0,6}$/)
  .optional()
  .transform((value) => (value === undefined ? null : Number(value)));
export const names = text.transform((value) =>
  [...new Set(value.split(',').map((name) => name.trim()))].filter(Boolean),
);
export const environmentNames = names.refine((list) =>
  list.every((name) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name)),
);

export const absolutePath = text.refine((value) => path.isAbsolute(value));
export const optionalPath = absolutePath.optional().transform((value) => value ?? null);
export const hosts = names
  .optional()
  .transform((list) => list ?? [])
  .refine((list) => list.every((host) => /^(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:\d{1,5})?$/i.test(host)));
/** With the number of a database, or none. */
export const postgresUrl = text.refine(
  (value) => /^postgres(ql)?:\/\/[^\s/]+\/[^\s/]+$/i.test(value) && URL.canParse(value),
);
export const redisUrl = text.refine(
  (value) => /^rediss?:\/\/[^\s/]+(\/\d{0,4})?([?#]\S*)?$/i.test(value) && URL.canParse(value),
);
export const labels = names.refine((list) => list.every((label) => /^[\w.-]{1,64}$/.test(label)));
