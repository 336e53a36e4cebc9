/** Deployments: where and how they run, the addresses that requests may name, event webhooks, and drift checks. */

import path from 'node:path';
import { ConfigError } from '../../errors.ts';
import { planChecks } from '../plan-checks.ts';
import {
  absolutePath,
  count,
  hosts,
  httpUrl,
  key,
  listOf,
  matching,
  positiveSeconds,
  seconds,
} from '../shapes.ts';
import { problemWith, type ValuesOf, variable } from '../variable.ts';

const allowedOriginsShape = listOf(
  (origin) => origin === '*' || /^https?:\/\/[^/\s]+$/.test(origin),
  'origins, comma-separated, or *',
);

export const DEPLOYMENTS = {
  directory: variable('DEPLOY_DIR', absolutePath, {
    default: '/tmp/iac-deployments',
    description: 'Holds a folder for each deployment, removed a day after its end.',
  }),
  concurrency: variable('MAX_CONCURRENT_RUNS', count, {
    default: '4',
    description: 'How many deployments run at the same time, each of another target.',
  }),
  approvalTimeoutMs: variable('APPROVAL_TIMEOUT', positiveSeconds, {
    default: '86400',
    description: 'Seconds that a plan waits for approval before it is cancelled.',
  }),
  cancelGraceMs: variable('CANCEL_GRACE', seconds, {
    default: '30',
    description:
      'Seconds that terraform or tofu gets to save its state after an interrupt, before it is terminated.',
  }),
  toolsDir: variable('TOOLS_DIR', absolutePath, {
    unset: 'none: only what is on the PATH',
    example: '/opt/iac-tools',
    description: 'Versions of the tools, as `$TOOLS_DIR/<tool>/<version>/<tool>`, for `tool_version`.',
  }),
  pluginCacheDir: variable('PLUGIN_CACHE_DIR', absolutePath, {
    unset: '$DATA_DIR/providers',
    example: '/var/cache/iac-runner/providers',
    description: 'The folder of the provider plugins, which all runs share.',
  }),
  providerMirrorDir: variable('PROVIDER_MIRROR_DIR', absolutePath, {
    unset: 'none',
    example: '/opt/iac-providers',
    description: 'A filesystem mirror of providers, which is tried before the registries.',
  }),
  checks: variable('PLAN_CHECKS', planChecks, {
    default: '[]',
    example: '[{"name":"policy","command":"conftest test {plan}","required":true}]',
    description:
      'Commands that run between plan and approval, without a shell; `{plan}` is the file with the plan as JSON.',
  }),
  allowedOrigins: variable('ALLOWED_ORIGINS', allowedOriginsShape, {
    default: '*',
    example: 'https://portal.example.com',
    description: 'Pages that may call the API of deployments from a browser (CORS).',
  }),
  registryUrl: variable('REGISTRY_HOST', httpUrl, {
    unset: 'none',
    example: 'https://registry.example.com',
    description: 'A private registry of modules and providers; its token is fetched for each run.',
  }),
} as const;

const protocolsShape = listOf(
  (name) => /^(https?|ssh|git|file)$/.test(name),
  'names of protocols, comma-separated, of https, ssh, http, git, file',
);

/** Requests may name URLs with these schemes and hosts. If no host is listed, any public host is allowed. */
export const REMOTES = {
  protocols: variable('GIT_ALLOWED_PROTOCOLS', protocolsShape, {
    default: 'https,ssh',
    description: 'The protocols that `git_url`, `clone_url` and `callback_url` of requests may use.',
  }),
  hosts: variable('GIT_ALLOWED_HOSTS', hosts, {
    default: '',
    example: 'git.internal.example.com,10.0.0.7:3000',
    description:
      'The only hosts that requests may name; they may be private. Unset: any public host, no private one.',
  }),
} as const;

export const KEYS = {
  encryptionKey: variable('ENCRYPTION_KEY', key, {
    unset: 'derived from WEBHOOK_SECRET; `worker` needs it for jobs',
    example: 'the output of `openssl rand -hex 32`',
    description:
      'Encrypts the credentials of requests in the store until their run ends. For jobs: decrypts the tokens of users.',
    secret: 'all',
  }),
  encryptionKeyPrevious: variable('ENCRYPTION_KEY_PREVIOUS', key, {
    unset: 'none',
    example: 'the previous value of ENCRYPTION_KEY',
    description:
      'Still decrypts the texts that were encrypted with it. Keys that are derived from WEBHOOK_SECRET or WEBHOOK_SECRET_PREVIOUS always do.',
    secret: 'all',
  }),
} as const;

/** The secret of Standard Webhooks. */
export const webhookSecret = matching(
  /^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/,
  'whsec_ and 24 to 64 bytes in base64',
);

export const EVENTS = {
  url: variable('EVENT_WEBHOOK_URL', httpUrl, {
    unset: 'none',
    example: 'https://hooks.example.com/iac',
    description:
      'The address that gets an event for each change of every deployment, as the `callback_url` of the deployment does.',
    // Often the path of such an address is the only secret that its receiver asks for.
    secret: 'all',
  }),
  secret: variable('EVENT_WEBHOOK_SECRET', webhookSecret, {
    unset: 'none: nothing is sent',
    example: 'the output of `openssl rand -base64 32` after whsec_',
    description:
      'Signs event webhooks, and notifications that name no other secret, in the form of Standard Webhooks.',
    secret: 'all',
  }),
} as const;

export const DRIFT = {
  file: variable('DRIFT_TARGETS', absolutePath, {
    unset: 'none',
    example: '/etc/iac-runner/drift.yaml',
    description: 'The file of the deployments that are planned on a schedule, to find differences.',
  }),
  intervalMs: variable('DRIFT_INTERVAL', positiveSeconds, {
    default: '86400',
    description: 'Seconds between two drift checks of a target.',
  }),
} as const;

export function deployConfig(
  values: ValuesOf<typeof DEPLOYMENTS>,
  { labels, dataDir }: { labels: readonly string[]; dataDir: string },
) {
  return {
    ...values,
    pluginCacheDir: values.pluginCacheDir ?? path.join(dataDir, 'providers'),
    /** Null if this machine takes any deployment. */
    labels: labels.length === 0 ? null : labels,
  };
}

/** Null without a secret to sign with. `url` is null when events are only sent to callbacks. */
export function eventWebhookConfig({ url, secret }: ValuesOf<typeof EVENTS>) {
  if (url !== null && secret === null) throw new ConfigError(problemWith(EVENTS.secret));
  return secret === null ? null : { url, secret };
}

/** The targets may name the variables of `environment`: all that the server has, except our own. */
export function driftConfig(
  { file, intervalMs }: ValuesOf<typeof DRIFT>,
  environment: Readonly<Record<string, string>>,
) {
  return file === null ? null : { file, intervalMs, environment };
}

/**
 * The base of the key that seals credentials, then the bases of keys that may have sealed them before. So neither a
 * first ENCRYPTION_KEY nor a new secret loses the credentials that are in the store.
 */
export function sealingKeys(
  { encryptionKey, encryptionKeyPrevious }: ValuesOf<typeof KEYS>,
  webhookSecrets: readonly [string, ...string[]],
): readonly [string, ...string[]] {
  const own = encryptionKey ?? webhookSecrets[0];
  const earlier = [encryptionKeyPrevious, ...webhookSecrets].filter((one) => one !== null);
  return [own, ...earlier.filter((one) => one !== own)];
}
