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
 * The first 12 hex characters of SHA-256 over the bytes of the files, `\n---ENV---\n` and the environment lines, joined by
 * `\n`. Between two files is `\n---FILE---\n`. For one compose file, existing tasks compare exactly this value.
 */
export function configHash(
  files: readonly (string | Uint8Array)[],
  environment: Readonly<Record<string, string>>,
): string {
  const hash = createHash('sha256');
  for (const [index, content] of files.entries())
    hash.update(index === 0 ? '' : '\n---FILE---\n').update(content);
  return hash
    .update('\n---ENV---\n')
    .update(environmentLines(environment).join('\n'))
    .digest('hex')
    .slice(0, 12);
}
