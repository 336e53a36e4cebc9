/** Deployments: where and how they run, what requests may name, who is told, and drift checks. */

import path from 'node:path';
import { ConfigError } from '../errors.ts';
import type { SECRET_VARIABLES } from './access.ts';
import { dataDirOf, type FOLDER_VARIABLES } from './folders.ts';
import { type PlanCheck, planChecks } from './plan-checks.ts';
import {
  absolutePath,
  count,
  hosts,
  httpUrl,
  names,
  optionalKey,
  optionalPath,
  positiveSeconds,
  seconds,
  text,
} from './shapes.ts';
import type { STORE_VARIABLES } from './store.ts';
import { problemWith, type ValuesOf, variable } from './variable.ts';

export const DEPLOYMENT_VARIABLES = {
  DEPLOY_DIR: variable({
    schema: absolutePath,
    expected: 'an absolute path',
    example: '/tmp/iac-deployments',
    description: 'Holds a folder for each deployment, removed a day after its end.',
    default: '/tmp/iac-deployments',
  }),
  MAX_CONCURRENT_RUNS: variable({
    schema: count,
    expected: 'a whole number from 1 to 9999',
    example: '4',
    description: 'Deployments that run at the same time, each of another target.',
    default: '4',
  }),
  APPROVAL_TIMEOUT: variable({
    schema: positiveSeconds,
    expected: 'a number of seconds above 0',
    example: '86400',
    description: 'Seconds that a plan waits for approval before it is cancelled.',
    default: '86400',
  }),
  CANCEL_GRACE: variable({
    schema: seconds,
    expected: 'a number of seconds',
    example: '30',
    description:
      'Seconds that terraform or tofu gets to save its state after an interrupt, before it is terminated.',
    default: '30',
  }),
  TOOLS_DIR: variable({
    schema: optionalPath,
    expected: 'an absolute path',
    example: '/opt/iac-tools',
    description: 'Versions of the tools, as `$TOOLS_DIR/<tool>/<version>/<tool>`, for `tool_version`.',
    default: '(none: only what is on the PATH)',
  }),
  PLUGIN_CACHE_DIR: variable({
    schema: optionalPath,
    expected: 'an absolute path',
    example: '/var/cache/iac-runner/providers',
    description: 'Provider plugins that all runs share.',
    default: '($DATA_DIR/providers)',
  }),
  PROVIDER_MIRROR_DIR: variable({
    schema: optionalPath,
    expected: 'an absolute path',
    example: '/opt/iac-providers',
    description: 'A filesystem mirror of providers, asked before the registries.',
    default: '(none)',
  }),
  PLAN_CHECKS: variable({
    schema: planChecks,
    expected:
      'a JSON array of {"name", "command", "required"}, names of letters, digits and dashes, each once',
    example: '[{"name":"policy","command":"conftest test {plan}","required":true}]',
    description:
      'Commands run between plan and approval, without a shell; `{plan}` is the file with the plan as JSON.',
    default: '[]',
  }),
  GIT_ALLOWED_PROTOCOLS: variable({
    schema: names.refine((list) => list.every((name) => /^(https?|ssh|git|file)$/.test(name))),
    expected: 'names of protocols, comma-separated, of https, ssh, http, git, file',
    example: 'https,ssh',
    description: 'What `git_url`, `clone_url` and `callback_url` of requests may speak.',
    default: 'https,ssh',
  }),
  GIT_ALLOWED_HOSTS: variable({
    schema: hosts,
    expected: 'names of hosts, comma-separated, each with or without a port',
    example: 'git.internal.example.com,10.0.0.7:3000',
    description:
      'Only these hosts may stand in requests, also private ones. Unset: any public host, no private one.',
    default: '',
  }),
  ALLOWED_ORIGINS: variable({
    schema: names.refine((list) =>
      list.every((origin) => origin === '*' || /^https?:\/\/[^/\s]+$/.test(origin)),
    ),
    expected: 'origins, comma-separated, or *',
    example: 'https://portal.example.com',
    description: 'Pages that may call the API of deployments from a browser (CORS).',
    default: '*',
  }),
  REGISTRY_HOST: variable({
    schema: httpUrl.optional().transform((value) => value ?? null),
    expected: 'an http(s) URL',
    example: 'https://registry.example.com',
    description: 'A private registry of modules and providers; its token is fetched for each run.',
    default: '(none)',
  }),
  ENCRYPTION_KEY: variable({
    schema: optionalKey,
    expected: 'a key of 32 bytes: 64 hexadecimal digits, 44 characters of base64, or 32 characters',
    example: 'the output of `openssl rand -hex 32`',
    description:
      'Seals the credentials of requests in the store until their run ends. For jobs: opens the tokens of users.',
    default: '(derived from WEBHOOK_SECRET; `worker` needs it for jobs)',
    secret: 'all',
  }),
  ENCRYPTION_KEY_PREVIOUS: variable({
    schema: optionalKey,
    expected: 'a key of 32 bytes: 64 hexadecimal digits, 44 characters of base64, or 32 characters',
    example: 'the previous value of ENCRYPTION_KEY',
    description:
      'Still opens what it has sealed. What a key derived from WEBHOOK_SECRET or WEBHOOK_SECRET_PREVIOUS has sealed is always opened.',
    default: '(none)',
    secret: 'all',
  }),
  EVENT_WEBHOOK_URL: variable({
    schema: httpUrl.optional().transform((value) => value ?? null),
    expected: 'an http(s) URL',
    example: 'https://hooks.example.com/iac',
    description: 'Gets an event for each change of every deployment, besides its own `callback_url`.',
    default: '(none)',
    // The path of such an address is often all that its receiver asks for.
    secret: 'all',
  }),
  EVENT_WEBHOOK_SECRET: variable({
    schema: text
      .regex(/^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/)
      .optional()
      .transform((value) => value ?? null),
    expected: 'whsec_ and 24 to 64 bytes in base64',
    example: 'whsec_ and the output of `openssl rand -base64 32`',
    description: 'Signs event webhooks, in the form of Standard Webhooks.',
    default: '(none: nothing is sent)',
    secret: 'all',
  }),
  DRIFT_TARGETS: variable({
    schema: optionalPath,
    expected: 'an absolute path',
    example: '/etc/iac-runner/drift.yaml',
    description: 'File of the deployments that are planned on a schedule to see whether something differs.',
    default: '(none)',
  }),
  DRIFT_INTERVAL: variable({
    schema: positiveSeconds,
    expected: 'a number of seconds above 0',
    example: '86400',
    description: 'Seconds between two drift checks of a target.',
    default: '86400',
  }),
} as const;

export interface DeployConfig {
  directory: string;
  concurrency: number;
  approvalTimeoutMs: number;
  cancelGraceMs: number;
  toolsDir: string | null;
  pluginCacheDir: string;
  providerMirrorDir: string | null;
  checks: readonly PlanCheck[];
  allowedOrigins: readonly string[];
  registryUrl: string | null;
  /** `url` is null when only callbacks are told; null without a secret to sign with. */
  eventWebhook: { url: string | null; secret: string } | null;
  /** `environment` is what its targets may name: all the server has, except what is ours. */
  drift: { file: string; intervalMs: number; environment: Readonly<Record<string, string>> } | null;
  /** Null: takes any deployment. */
  labels: readonly string[] | null;
}

/** What requests may name: URLs with these schemes and hosts. No host listed: any public one. */
export interface RemotesConfig {
  protocols: readonly string[];
  hosts: readonly string[];
}

type Values = ValuesOf<typeof DEPLOYMENT_VARIABLES>;

export function deployConfig(
  values: Values & ValuesOf<typeof STORE_VARIABLES & typeof FOLDER_VARIABLES>,
  environmentOfDrift: Readonly<Record<string, string>>,
): DeployConfig {
  const { EVENT_WEBHOOK_SECRET: secret, EVENT_WEBHOOK_URL: url, DRIFT_TARGETS: file } = values;
  if (url !== null && secret === null) {
    throw new ConfigError(problemWith(DEPLOYMENT_VARIABLES, 'EVENT_WEBHOOK_SECRET', undefined));
  }
  return {
    directory: values.DEPLOY_DIR,
    concurrency: values.MAX_CONCURRENT_RUNS,
    approvalTimeoutMs: values.APPROVAL_TIMEOUT,
    cancelGraceMs: values.CANCEL_GRACE,
    toolsDir: values.TOOLS_DIR,
    pluginCacheDir: values.PLUGIN_CACHE_DIR ?? path.join(dataDirOf(values), 'providers'),
    providerMirrorDir: values.PROVIDER_MIRROR_DIR,
    checks: values.PLAN_CHECKS,
    allowedOrigins: values.ALLOWED_ORIGINS,
    registryUrl: values.REGISTRY_HOST,
    eventWebhook: secret === null ? null : { url, secret },
    drift:
      file === null ? null : { file, intervalMs: values.DRIFT_INTERVAL, environment: environmentOfDrift },
    labels: values.WORKER_LABELS.length === 0 ? null : values.WORKER_LABELS,
  };
}

export function remotesConfig(
  values: Pick<Values, 'GIT_ALLOWED_PROTOCOLS' | 'GIT_ALLOWED_HOSTS'>,
): RemotesConfig {
  return { protocols: values.GIT_ALLOWED_PROTOCOLS, hosts: values.GIT_ALLOWED_HOSTS };
}

/**
 * Base of the key that seals credentials, then of all that may have sealed them before: so neither a first
 * ENCRYPTION_KEY nor a new secret loses what waits in the store.
 */
export function sealingKeys(values: Values & ValuesOf<typeof SECRET_VARIABLES>): [string, ...string[]] {
  const own = values.ENCRYPTION_KEY ?? values.WEBHOOK_SECRET;
  const earlier = [values.ENCRYPTION_KEY_PREVIOUS, values.WEBHOOK_SECRET, values.WEBHOOK_SECRET_PREVIOUS];
  return [own, ...earlier.filter((key) => key !== null).filter((key) => key !== own)];
}
