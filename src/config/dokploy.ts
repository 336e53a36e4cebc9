/** Config hashes in Dokploy. */

import { z } from 'zod';
import { ConfigError } from '../errors.ts';
import type { Environment } from './environment.ts';
import { flag, httpUrl, optionalText } from './shapes.ts';
import { problemWith, type ValuesOf, variable } from './variable.ts';

export const DOKPLOY_VARIABLES = {
  CONFIG_HASH_STORE: variable({
    schema: z.enum(['ledger', 'dokploy']),
    expected: 'ledger or dokploy',
    example: 'dokploy',
    description:
      'Where config hashes stand: in our ledger alone, or in Dokploy too, to notice changes there.',
    default: 'ledger',
  }),
  DOKPLOY_URL: variable({
    schema: optionalText,
    expected: 'the http(s) URL of the API of Dokploy, without credentials',
    example: 'https://cloud.example.com/api',
    description: 'The API of Dokploy, for CONFIG_HASH_STORE=dokploy.',
    default: '(https://cloud.$INTERNAL_DOMAIN/api when that is set)',
  }),
  DOKPLOY_API_KEY: variable({
    schema: optionalText,
    expected: 'an API key of Dokploy',
    example: 'a key that may read projects and change compose services',
    description: 'The key for the API of Dokploy, for CONFIG_HASH_STORE=dokploy.',
    default: '(none)',
    secret: 'all',
    forTasks: true,
  }),
  SELF_HEAL: variable({
    schema: flag,
    expected: 'true or false',
    example: 'true',
    description: 'Sync a service again when its config hash was changed in Dokploy; else it is only said.',
    default: 'false',
  }),
} as const;

type Values = ValuesOf<typeof DOKPLOY_VARIABLES>;

export interface DokployConfig {
  /** Where config hashes stand besides the ledger, or null. `url` has no final slash. */
  dokploy: { url: string; apiKey: string } | null;
  selfHeal: boolean;
}

export function dokployConfig(values: Values, environment: Environment): DokployConfig {
  return {
    dokploy: values.CONFIG_HASH_STORE === 'dokploy' ? dokployOf(values, environment) : null,
    selfHeal: values.SELF_HEAL,
  };
}

/** Only checked when it is used: tasks may take the same variables in forms of their own. */
function dokployOf(values: Values, environment: Environment): { url: string; apiKey: string } {
  const domain = environment.INTERNAL_DOMAIN?.trim();
  const url = httpUrl.safeParse(values.DOKPLOY_URL ?? (domain ? `https://cloud.${domain}/api` : undefined));
  const { username, password, search, hash } = new URL(url.data ?? 'none:');
  const isUrl = url.success && `${username}${password}${search}${hash}` === '';
  const apiKey = /^[\x21-\x7e]+$/.exec(values.DOKPLOY_API_KEY ?? '')?.[0];
  if (isUrl && apiKey !== undefined) return { url: url.data, apiKey };
  const wrong = [
    ...(isUrl ? [] : [['DOKPLOY_URL', values.DOKPLOY_URL] as const]),
    ...(apiKey !== undefined ? [] : [['DOKPLOY_API_KEY', values.DOKPLOY_API_KEY] as const]),
  ];
  throw new ConfigError(
    wrong.map(([name, value]) => problemWith(DOKPLOY_VARIABLES, name, value ?? undefined)).join('\n'),
  );
}
