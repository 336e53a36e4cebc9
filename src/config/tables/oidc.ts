/** Sign-in by OpenID Connect: the provider, our client there, and the roles of its users. */

import { ConfigError } from '../../errors.ts';
import { anyText, httpUrl, text } from '../shapes.ts';
import { problemWith, type ValuesOf, variable } from '../variable.ts';
import { isRole, type Role } from './access.ts';

/** A user whose claim has the value, or a list with it, has the role. */
interface RoleRule {
  claim: string;
  value: string;
  role: Role;
}

/** A claim may be named by a URL, as https://openid.net/specs/openid-connect-core-1_0.html#AdditionalClaims suggests. */
const RULE = /^((?:https?:\/\/)?[^\s:=,]+):([^,]+)=(viewer|operator|admin)$/;

const roleRules = text.transform((value, context): RoleRule[] =>
  value
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
    .flatMap((entry) => {
      const [, claim, wanted, role] = RULE.exec(entry) ?? [];
      if (claim && wanted && isRole(role)) {
        return [{ claim, value: wanted, role }];
      }
      context.addIssue({ code: 'custom', message: 'malformed' });
      return [];
    }),
);

const isLoopback = ({ hostname }: URL): boolean => /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);

const issuer = {
  schema: httpUrl.schema.refine((value) => {
    const url = new URL(value);
    return (url.protocol === 'https:' || isLoopback(url)) && `${url.search}${url.hash}` === '';
  }),
  expected: 'an https URL without a query (http only for this machine itself)',
};

export const OIDC = {
  issuer: variable('OIDC_ISSUER', issuer, {
    unset: 'none: people sign in with tokens only',
    example: 'https://login.example.com/realms/acme',
    description: 'The provider of OpenID Connect that people sign in with, besides tokens; see sign-in.md.',
  }),
  clientId: variable('OIDC_CLIENT_ID', anyText('the id of our client at the provider'), {
    unset: 'none',
    example: 'iac-runner',
    description: 'The id of our client there. Its redirect address is `$PUBLIC_URL/login/oidc/callback`.',
  }),
  clientSecret: variable('OIDC_CLIENT_SECRET', anyText('the secret of our client at the provider'), {
    unset: 'none',
    example: 'the secret that the provider shows',
    description: 'The secret of our client there.',
    secret: 'all',
  }),
  roles: variable(
    'OIDC_ROLES',
    {
      schema: roleRules,
      expected: 'claim:value=role entries, comma-separated, role viewer, operator or admin',
    },
    {
      default: '',
      example: 'groups:platform-admins=admin,groups:platform=operator',
      description:
        'The roles of those who sign in there, by their claims. The highest role wins, and nobody without one gets in.',
    },
  ),
  scopes: variable('OIDC_SCOPES', anyText('names of scopes with spaces between them, with openid'), {
    default: 'openid profile email',
    example: 'openid profile email groups',
    description: 'The scopes to ask for. Some providers send groups only for a scope of their own.',
  }),
} as const;

/** Null without an issuer. Throws ConfigError if something is missing. */
export function oidcConfig(values: ValuesOf<typeof OIDC>, publicUrl: string | null) {
  const { issuer: url, clientId, clientSecret, roles, scopes } = values;
  if (url === null) return null;
  if (clientId === null) throw new ConfigError(problemWith(OIDC.clientId));
  if (clientSecret === null) throw new ConfigError(problemWith(OIDC.clientSecret));
  if (roles.length === 0) throw new ConfigError(problemWith(OIDC.roles));
  if (publicUrl === null) {
    throw new ConfigError('PUBLIC_URL is not set, but OIDC_ISSUER is: the provider sends people back to it.');
  }
  return { issuer: url, clientId, clientSecret, roles, scopes, publicUrl };
}

export type OidcConfig = NonNullable<ReturnType<typeof oidcConfig>>;
