/** The config hash, by which tasks see whether the configuration of a service changed. */

import { createHash } from 'node:crypto';

/** The variables as `KEY=VALUE` lines, sorted by key, without those that are empty. */
export function environmentLines(environment: Readonly<Record<string, string>>): string[] {
  return Object.keys(environment)
    .filter((name) => environment[name] !== '')
    .sort()
    .map((name) => `${name}=${environment[name]}`);
}

/**
 * The first 12 hex characters of SHA-256 over the bytes of the compose file, `\n---ENV---\n` and the environment lines,
 * joined by `\n`. Existing tasks compare exactly this value.
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
