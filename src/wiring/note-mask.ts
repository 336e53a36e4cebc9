/** Masks secrets in what people write for other people: the reasons of holds, rollbacks and promotions. */

import { readSecret, type Secret } from '../config/repositories.ts';
import type { Config } from '../config.ts';
import { SecretMissingError } from '../errors.ts';
import { createRedactor } from '../process/output/redact.ts';
import type { OpenPlace } from './repositories/places.ts';
import { secretsOf } from './sync.ts';

/** The returned function masks the secrets of the server, and those of every repository and environment as they are now. */
export function createNoteMask(
  config: Pick<Config, 'secrets'>,
  places: readonly Pick<OpenPlace, 'repository' | 'environment'>[],
): (text: string) => string {
  return (text) => createRedactor([...secretsOf(config), ...places.flatMap(secretsAt)])(text);
}

function secretsAt({ repository, environment }: Pick<OpenPlace, 'repository' | 'environment'>): string[] {
  const { token } = repository;
  return [...(token ? [token] : []), ...Object.values(environment.secrets)].flatMap(readableOf);
}

/** A secret that cannot be read now is left out, because the runs that need it say so. */
function readableOf(secret: Secret): string[] {
  try {
    return [readSecret(secret)];
  } catch (error) {
    if (error instanceof SecretMissingError) return [];
    throw error;
  }
}
