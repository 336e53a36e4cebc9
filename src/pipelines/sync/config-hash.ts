/** The config hash that tasks compare to see whether a service's configuration changed. */

import { createHash } from 'node:crypto';

/** Variables as `KEY=VALUE` lines, sorted by key, empty values left out. */
export function environmentLines(environment: Readonly<Record<string, string>>): string[] {
  return Object.keys(environment)
    .filter((name) => environment[name] !== '')
    .sort()
    .map((name) => `${name}=${environment[name]}`);
}

/**
 * First 12 hex characters of SHA-256 over the compose file's bytes, `\n---ENV---\n` and the environment lines
 * joined by `\n`. Tasks in the field compare exactly this value.
 */
export function configHash(
  compose: string | Uint8Array,
  environment: Readonly<Record<string, string>>,
): string {
  return createHash('sha256')
    .update(compose)
    .update('\n---ENV---\n')
    .update(environmentLines(environment).join('\n'))
    .digest('hex')
    .slice(0, 12);
}
