/** Pull requests: previews, and plans that are asked for by them, by comments or by Pub/Sub. */

import { ConfigError } from '../errors.ts';
import type { GIT_VARIABLES } from './git.ts';
import { flag, hosts, httpUrl, optionalText, text } from './shapes.ts';
import { type ValuesOf, variable } from './variable.ts';

export const PREVIEW_VARIABLES = {
  PREVIEWS: variable({
    schema: flag,
    expected: 'true or false',
    example: 'true',
    description:
      'Tell on each pull request what merging it would sync; the webhook must send `pull_request` events, too.',
    default: 'false',
  }),
} as const;

export const PLAN_VARIABLES = {
  PLANS: variable({
    schema: flag,
    expected: 'true or false',
    example: 'true',
    description: 'Plan the Terraform roots that a pull request changes, and comment the plans on it.',
    default: 'false',
  }),
  COMMENT_COMMANDS: variable({
    schema: flag,
    expected: 'true or false',
    example: 'true',
    description:
      'Obey `iac-runner plan` and `iac-runner apply` in comments on pull requests by people with write access.',
    default: 'false',
  }),
  PUBSUB_AUDIENCE: variable({
    schema: optionalText,
    expected: 'the audience of the push subscription',
    example: 'https://iac.example.com/pubsub/push',
    description:
      'Turns `/pubsub/push` on for OIDC tokens with this audience. Needs PUBSUB_SERVICE_ACCOUNT as well.',
    default: '(none: off)',
  }),
  PUBSUB_SERVICE_ACCOUNT: variable({
    schema: optionalText,
    expected: 'the e-mail address of a service account',
    example: 'pubsub@project.iam.gserviceaccount.com',
    description:
      'The only account whose tokens are accepted: an audience alone can be put into a token by everybody.',
    default: '(none; required with PUBSUB_AUDIENCE)',
  }),
  PUBSUB_ISSUER: variable({
    schema: text.min(1),
    expected: 'the issuer of the tokens',
    example: 'https://accounts.google.com',
    description: 'Who issues the tokens.',
    default: 'https://accounts.google.com',
  }),
  PUBSUB_JWKS_URL: variable({
    schema: httpUrl,
    expected: 'an http(s) URL',
    example: 'https://www.googleapis.com/oauth2/v3/certs',
    description: 'The keys that the tokens are signed with.',
    default: 'https://www.googleapis.com/oauth2/v3/certs',
  }),
  PUBSUB_ALLOW_UNAUTHENTICATED: variable({
    schema: flag,
    expected: 'true or false',
    example: 'false',
    description: 'Take `/pubsub/push` from anybody. Only behind something that checks.',
    default: 'false',
  }),
  PLAN_ALLOWED_HOSTS: variable({
    schema: hosts,
    expected: 'names of hosts, comma-separated, each with or without a port',
    example: 'api.github.com,github.com',
    description: 'The only hosts that the token of a plan request is sent to.',
    default: '(the host of GITHUB_API_URL, and github.com)',
  }),
} as const;

export interface PlansConfig {
  /** Plan pull requests of the platform repository. */
  pullRequests: boolean;
  commentCommands: boolean;
  /** Null when `/pubsub/push` is off; `oidc` null: anybody may push. */
  pubsub: {
    oidc: { audience: string; serviceAccount: string; issuer: string; jwksUrl: string } | null;
  } | null;
  /** host or host:port. */
  allowedHosts: readonly string[];
}

export function plansConfig(values: ValuesOf<typeof PLAN_VARIABLES & typeof GIT_VARIABLES>): PlansConfig {
  const { PLAN_ALLOWED_HOSTS: listed } = values;
  const oidc = oidcConfig(values);
  return {
    pullRequests: values.PLANS,
    commentCommands: values.COMMENT_COMMANDS,
    pubsub: oidc !== null || values.PUBSUB_ALLOW_UNAUTHENTICATED ? { oidc } : null,
    allowedHosts: listed.length > 0 ? listed : [new URL(values.GITHUB_API_URL).host, 'github.com'],
  };
}

/** Google signs a token with any audience for anybody who has a service account, so the account must be named. */
function oidcConfig(values: ValuesOf<typeof PLAN_VARIABLES>): NonNullable<PlansConfig['pubsub']>['oidc'] {
  const { PUBSUB_AUDIENCE: audience, PUBSUB_SERVICE_ACCOUNT: serviceAccount } = values;
  if (audience === null && serviceAccount === null) return null;
  if (audience === null || serviceAccount === null) {
    const [given, missing] =
      audience === null
        ? ['PUBSUB_SERVICE_ACCOUNT', 'PUBSUB_AUDIENCE']
        : ['PUBSUB_AUDIENCE', 'PUBSUB_SERVICE_ACCOUNT'];
    throw new ConfigError(
      `${given} is set, but ${missing} is not: a token is accepted only for one audience and one service account. Set both, or none.`,
    );
  }
  return { audience, serviceAccount, issuer: values.PUBSUB_ISSUER, jwksUrl: values.PUBSUB_JWKS_URL };
}
