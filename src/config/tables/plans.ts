/** Pull requests: previews, and plans that pull requests, comments or Pub/Sub messages ask for. */

import { ConfigError } from '../../errors.ts';
import { anyText, flag, hosts, httpUrl } from '../shapes.ts';
import { type ValuesOf, variable } from '../variable.ts';

export const PLANS = {
  previews: variable('PREVIEWS', flag, {
    default: 'false',
    description:
      'Comment on each pull request which services merging it would sync. The webhook must send `pull_request` events, too.',
  }),
  pullRequests: variable('PLANS', flag, {
    default: 'false',
    description: 'Plan the Terraform roots that a pull request changes, and comment the plans on it.',
  }),
  commentCommands: variable('COMMENT_COMMANDS', flag, {
    default: 'false',
    description:
      'Obey the comments `iac-runner plan` and `iac-runner apply` on pull requests, by people with write access.',
  }),
  allowedHosts: variable('PLAN_ALLOWED_HOSTS', hosts, {
    unset: 'the host of GITHUB_API_URL, and github.com',
    example: 'api.github.com,github.com',
    description: 'The only hosts that the token of a plan request is sent to.',
  }),
} as const;

export const PUBSUB = {
  audience: variable('PUBSUB_AUDIENCE', anyText('the audience of the push subscription'), {
    unset: 'none: off',
    example: 'https://iac.example.com/pubsub/push',
    description:
      'Turns on `/pubsub/push` for OIDC tokens with this audience. Needs PUBSUB_SERVICE_ACCOUNT as well.',
  }),
  serviceAccount: variable('PUBSUB_SERVICE_ACCOUNT', anyText('the e-mail address of a service account'), {
    unset: 'none; required with PUBSUB_AUDIENCE',
    example: 'pubsub@project.iam.gserviceaccount.com',
    description:
      'The only account whose tokens are accepted. The audience proves nothing, because everybody can put it into a token.',
  }),
  issuer: variable('PUBSUB_ISSUER', anyText('the issuer of the tokens'), {
    default: 'https://accounts.google.com',
    description: 'The issuer of the tokens.',
  }),
  jwksUrl: variable('PUBSUB_JWKS_URL', httpUrl, {
    default: 'https://www.googleapis.com/oauth2/v3/certs',
    description: 'The address of the keys that sign the tokens.',
  }),
  allowUnauthenticated: variable('PUBSUB_ALLOW_UNAUTHENTICATED', flag, {
    default: 'false',
    example: 'false',
    description: 'Accept `/pubsub/push` from anybody. Only use this behind a proxy that checks the senders.',
  }),
} as const;

export type PlansConfig = ReturnType<typeof plansConfig>;

export function plansConfig(
  { pullRequests, commentCommands, allowedHosts: listed }: ValuesOf<typeof PLANS>,
  pubsub: ValuesOf<typeof PUBSUB>,
  githubApiUrl: string,
) {
  const oidc = oidcConfig(pubsub);
  return {
    pullRequests,
    commentCommands,
    /** Null when `/pubsub/push` is off; `oidc` is null when anybody may push. */
    pubsub: oidc !== null || pubsub.allowUnauthenticated ? { oidc } : null,
    allowedHosts: listed?.length ? listed : [new URL(githubApiUrl).host, 'github.com'],
  };
}

/** Google signs a token with any audience for anybody who has a service account, so the account is required. */
function oidcConfig({ audience, serviceAccount, issuer, jwksUrl }: ValuesOf<typeof PUBSUB>) {
  if (audience === null && serviceAccount === null) return null;
  if (audience === null || serviceAccount === null) {
    const names = [PUBSUB.audience.name, PUBSUB.serviceAccount.name];
    const [given, missing] = audience === null ? names.toReversed() : names;
    throw new ConfigError(
      `${given} is set, but ${missing} is not: a token is accepted only for one audience and one service account. Set both, or none.`,
    );
  }
  return { audience, serviceAccount, issuer, jwksUrl };
}
