/** Who may ask for what: the secrets of signed requests, and the tokens of the API. */

import { flag, isPlaceholder, secret, text } from './shapes.ts';
import { type ValuesOf, variable } from './variable.ts';

export type Role = 'viewer' | 'operator' | 'admin';

export interface ApiToken {
  name: string;
  role: Role;
  token: string;
}

const tokens = text.transform((value, context): ApiToken[] => {
  const list = value.split(',').filter((entry) => entry.trim() !== '');
  return list.flatMap((entry) => {
    const [, name, role, token] = /^\s*([^:\s]+):(viewer|operator|admin):(\S{16,})\s*$/.exec(entry) ?? [];
    if (
      name &&
      token &&
      !isPlaceholder(token) &&
      (role === 'viewer' || role === 'operator' || role === 'admin')
    ) {
      return [{ name, role, token }];
    }
    context.addIssue({ code: 'custom', message: 'malformed' });
    return [];
  });
});
const uniqueTokens = tokens.superRefine((list, context) => {
  const names = new Set<string>();
  const owners = new Map<string, string>();
  for (const { name, token } of list) {
    const owner = owners.get(token);
    const problem = names.has(name)
      ? `The name ${name} stands there twice.`
      : owner !== undefined && `${owner} and ${name} have the same token: give each its own.`;
    if (problem) context.addIssue({ code: 'custom', params: { problem } });
    names.add(name);
    owners.set(token, name);
  }
});

const optionalSecret = secret.optional().transform((value) => value ?? null);

export const SECRET_VARIABLES = {
  WEBHOOK_SECRET: variable({
    schema: secret,
    expected: 'the secret of the GitHub webhook, at least 8 characters and not a placeholder',
    example: 'the output of `openssl rand -hex 32`',
    description: 'Signs `/webhook`, and `/sync` without SYNC_SECRET. The program does not start without it.',
    default: '(required)',
    secret: 'all',
  }),
  WEBHOOK_SECRET_PREVIOUS: variable({
    schema: optionalSecret,
    expected: 'the secret that was in use before, at least 8 characters',
    example: 'the previous value of WEBHOOK_SECRET',
    description: 'Also accepted, while a new secret is being rolled out.',
    default: '(none)',
    secret: 'all',
  }),
  SYNC_SECRET: variable({
    schema: optionalSecret,
    expected: 'a secret of at least 8 characters that is not a placeholder',
    example: 'the output of `openssl rand -hex 32`',
    description: 'Signs `/sync` in place of WEBHOOK_SECRET, so that GitHub and your scripts share nothing.',
    default: '(WEBHOOK_SECRET, and WEBHOOK_SECRET_PREVIOUS)',
    secret: 'all',
  }),
  SYNC_SECRET_PREVIOUS: variable({
    schema: optionalSecret,
    expected: 'the secret that signed `/sync` before, at least 8 characters',
    example: 'the previous value of SYNC_SECRET, or WEBHOOK_SECRET when SYNC_SECRET is new',
    description: 'Also accepted for `/sync`, while a new secret is being rolled out.',
    default: '(none)',
    secret: 'all',
  }),
} as const;

export const TOKEN_VARIABLES = {
  API_TOKENS: variable({
    schema: uniqueTokens,
    expected:
      'name:role:token entries, comma-separated, role viewer, operator or admin, tokens of 16 or more characters that stand in no example, each name and each token once',
    example: 'ada:admin:4f9c2e…,dashboard:viewer:77aa01…',
    description:
      'Who may read runs (viewer), also retry and cancel them (operator), also approve (admin). Make tokens with `openssl rand -hex 32`.',
    default: '',
    secret: 'in_entries',
  }),
} as const;

export const REPLAY_VARIABLES = {
  SYNC_REQUIRE_TIMESTAMP: variable({
    schema: flag,
    expected: 'true or false',
    example: 'true',
    description: 'Refuse `/sync` requests without `X-IAC-Timestamp` and `X-IAC-Nonce`.',
    default: 'false',
  }),
} as const;

export interface AccessConfig {
  webhookSecrets: readonly [string, ...string[]];
  /** Those of `/sync`. */
  syncSecrets: readonly string[];
  requireTimestamp: boolean;
  apiTokens: readonly ApiToken[];
}

export function accessConfig(
  values: ValuesOf<typeof SECRET_VARIABLES & typeof TOKEN_VARIABLES & typeof REPLAY_VARIABLES>,
): AccessConfig {
  const { WEBHOOK_SECRET: current, WEBHOOK_SECRET_PREVIOUS: previous, SYNC_SECRET: ofSync } = values;
  const webhookSecrets: [string, ...string[]] = previous ? [current, previous] : [current];
  const previousOfSync = values.SYNC_SECRET_PREVIOUS;
  return {
    webhookSecrets,
    syncSecrets: [...(ofSync ? [ofSync] : webhookSecrets), ...(previousOfSync ? [previousOfSync] : [])],
    requireTimestamp: values.SYNC_REQUIRE_TIMESTAMP,
    apiTokens: values.API_TOKENS,
  };
}
