/** The secrets of signed requests, and the tokens of the API. */

import { aSecret, flag, isPlaceholder, text } from '../shapes.ts';
import { type ValuesOf, variable } from '../variable.ts';

/** Each may do what those before it may. */
export const ROLES = ['viewer', 'operator', 'admin'] as const;
export type Role = (typeof ROLES)[number];

export function isRole(text: string | undefined): text is Role {
  return ROLES.some((role) => role === text);
}

export interface ApiToken {
  name: string;
  role: Role;
  token: string;
}

const tokens = text.transform((value, context): ApiToken[] => {
  const list = value.split(',').filter((entry) => entry.trim() !== '');
  return list.flatMap((entry) => {
    const [, name, role, token] = /^\s*([^:\s]+):(viewer|operator|admin):(\S{16,})\s*$/.exec(entry) ?? [];
    if (name && token && !isPlaceholder(token) && isRole(role)) {
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
      ? `The name ${name} is used twice.`
      : owner !== undefined && `${owner} and ${name} have the same token: give each its own.`;
    if (problem) context.addIssue({ code: 'custom', params: { problem } });
    names.add(name);
    owners.set(token, name);
  }
});

const webhookSecretShape = aSecret(
  'the secret of the GitHub webhook, at least 8 characters and not a placeholder',
);
const webhookSecretPreviousShape = aSecret('the secret that was in use before, at least 8 characters');
const syncSecretShape = aSecret('a secret of at least 8 characters that is not a placeholder');
const syncSecretPreviousShape = aSecret('the secret that signed `/sync` before, at least 8 characters');
const apiTokensShape = {
  schema: uniqueTokens,
  expected:
    'name:role:token entries, comma-separated, role viewer, operator or admin, tokens of 16 or more characters that no example uses, each name and each token once',
};

export const ACCESS = {
  webhookSecret: variable('WEBHOOK_SECRET', webhookSecretShape, {
    example: 'the output of `openssl rand -hex 32`',
    description:
      'Signs `/webhook`, and `/sync` if SYNC_SECRET is not set. The program does not start without it.',
    secret: 'all',
  }),
  webhookSecretPrevious: variable('WEBHOOK_SECRET_PREVIOUS', webhookSecretPreviousShape, {
    unset: 'none',
    example: 'the previous value of WEBHOOK_SECRET',
    description: 'Also accepted, while you roll out a new secret.',
    secret: 'all',
  }),
  syncSecret: variable('SYNC_SECRET', syncSecretShape, {
    unset: 'WEBHOOK_SECRET, and WEBHOOK_SECRET_PREVIOUS',
    example: 'the output of `openssl rand -hex 32`',
    description: 'Signs `/sync` in place of WEBHOOK_SECRET, so that GitHub and your scripts share nothing.',
    secret: 'all',
  }),
  syncSecretPrevious: variable('SYNC_SECRET_PREVIOUS', syncSecretPreviousShape, {
    unset: 'none',
    example: 'the previous value of SYNC_SECRET, or WEBHOOK_SECRET when SYNC_SECRET is new',
    description: 'Also accepted for `/sync`, while you roll out a new secret.',
    secret: 'all',
  }),
  apiTokens: variable('API_TOKENS', apiTokensShape, {
    default: '',
    example: 'ada:admin:4f9c2e…,dashboard:viewer:77aa01…',
    description:
      'Tokens of people and programs: a viewer reads runs, an operator also retries and cancels them, an admin also approves. Make tokens with `openssl rand -hex 32`.',
    secret: 'in_entries',
  }),
  requireTimestamp: variable('SYNC_REQUIRE_TIMESTAMP', flag, {
    default: 'false',
    description: 'Refuse `/sync` requests without `X-IAC-Timestamp` and `X-IAC-Nonce`.',
  }),
} as const;

export function accessConfig(values: ValuesOf<typeof ACCESS>) {
  const { webhookSecret, webhookSecretPrevious, syncSecret, syncSecretPrevious, ...others } = values;
  const webhookSecrets: readonly [string, ...string[]] = webhookSecretPrevious
    ? [webhookSecret, webhookSecretPrevious]
    : [webhookSecret];
  const syncSecrets = [
    ...(syncSecret ? [syncSecret] : webhookSecrets),
    ...(syncSecretPrevious ? [syncSecretPrevious] : []),
  ];
  return { ...others, webhookSecrets, syncSecrets };
}
