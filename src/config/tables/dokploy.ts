/** The place of config hashes, and the access to Dokploy. */

import { z } from 'zod';
import { ConfigError } from '../../errors.ts';
import type { RepositoryConfig } from '../repositories.ts';
import { anyText, flag, httpUrl } from '../shapes.ts';
import { problemWith, type ValuesOf, variable } from '../variable.ts';

const hashStoreShape = {
  schema: z.enum(['ledger', 'dokploy']),
  expected: 'ledger or dokploy',
  example: 'dokploy',
};

/** Address and key are only checked when they are used, because tasks may use the same variables in other forms. */
export const DOKPLOY = {
  hashStore: variable('CONFIG_HASH_STORE', hashStoreShape, {
    default: 'ledger',
    description:
      'Where config hashes are stored: in our ledger alone, or in Dokploy too, to notice changes there.',
  }),
  url: variable('DOKPLOY_URL', anyText('the http(s) URL of the API of Dokploy, without credentials'), {
    unset: 'https://cloud.$INTERNAL_DOMAIN/api when that is set',
    example: 'https://cloud.example.com/api',
    description: 'The API of Dokploy, for CONFIG_HASH_STORE=dokploy.',
  }),
  apiKey: variable('DOKPLOY_API_KEY', anyText('an API key of Dokploy'), {
    unset: 'none',
    example: 'a key that may read projects and change compose services',
    description: 'The key for the API of Dokploy, for CONFIG_HASH_STORE=dokploy.',
    secret: 'all',
    forTasks: true,
  }),
  selfHeal: variable('SELF_HEAL', flag, {
    default: 'false',
    description:
      'Sync a service again when its config hash was changed in Dokploy; otherwise the change is only shown.',
  }),
} as const;

/** The second place of config hashes, or null if they are only in the ledger. `url` has no final slash. */
export function dokployConfig(
  values: ValuesOf<typeof DOKPLOY>,
  domain: string | null,
  repositories: readonly RepositoryConfig[],
): { url: string; apiKey: string } | null {
  if (values.hashStore === 'ledger') return null;
  requireOneEnvironment(repositories);
  const url = httpUrl.schema.safeParse(values.url ?? (domain ? `https://cloud.${domain}/api` : undefined));
  const { username, password, search, hash } = new URL(url.data ?? 'none:');
  const isUrl = url.success && `${username}${password}${search}${hash}` === '';
  const apiKey = /^[\x21-\x7e]+$/.exec(values.apiKey ?? '')?.[0];
  if (isUrl && apiKey !== undefined) return { url: url.data, apiKey };
  const wrong = [
    ...(isUrl ? [] : [problemWith(DOKPLOY.url, values.url)]),
    ...(apiKey !== undefined ? [] : [problemWith(DOKPLOY.apiKey, values.apiKey)]),
  ];
  throw new ConfigError(wrong.join('\n'));
}

/** A service has one place for its config hash in Dokploy. */
function requireOneEnvironment(repositories: readonly RepositoryConfig[]): void {
  const count = repositories.flatMap(({ environments }) => environments).length;
  if (count === 1) return;
  throw new ConfigError(
    `${DOKPLOY.hashStore.name}=dokploy is for one environment, but the file of CONFIG_FILE has ${count}. Remove ${DOKPLOY.hashStore.name}, or leave one environment in the file.`,
  );
}
