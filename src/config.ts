/** The environment, checked once and frozen: the only reader of process.env. */

import path from 'node:path';
import { z } from 'zod';
import { ConfigError } from './errors.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export type Role = 'viewer' | 'operator' | 'admin';

export interface ApiToken {
  name: string;
  role: Role;
  token: string;
}

const SECOND_MS = 1_000;

/** Secrets nobody may run with: they stand in examples everywhere. */
const PLACEHOLDERS = new Set([
  'changeme',
  'change-me',
  'secret',
  'password',
  'placeholder',
  'your-secret',
  'your_secret',
  'your-webhook-secret',
  'webhook-secret',
  'webhook_secret',
  'todo',
  'xxx',
]);

const DEFAULT_TASK_ENV =
  'VAULT_ADDR,VAULT_APP_TOKEN,DOKPLOY_API_KEY,DOKPLOY_URL,INTERNAL_DOMAIN,ENV,PROJECT,DEPLOY_ENV';

/** One variable: how it is read, what stands in the documentation, and an example for the error. */
interface Variable<T> {
  schema: z.ZodType<T, string | undefined>;
  /** What is expected, in the words of an error: "expected …". */
  expected: string;
  example: string;
  description: string;
  /** What holds when it is unset; shown, and parsed like a given value unless it begins with "(". */
  default: string;
}

function variable<T>(definition: Variable<T>): Variable<T> {
  return definition;
}

const text = z.string().trim();
const seconds = text.regex(/^\d{1,7}$/).transform((value) => Number(value) * SECOND_MS);
const positiveSeconds = seconds.refine((value) => value > 0);
const count = text.regex(/^[1-9]\d{0,3}$/).transform(Number);
const port = text
  .regex(/^\d{1,5}$/)
  .transform(Number)
  .refine((value) => value <= 65_535);
const httpUrl = text
  .refine((value) => /^https?:\/\//i.test(value) && URL.canParse(value))
  .transform((value) => value.replace(/\/+$/, ''));
const secret = text.min(8).refine((value) => !PLACEHOLDERS.has(value.toLowerCase()));
const optionalText = text.optional().transform((value) => value || null);
const words = text
  .min(1)
  .refine((value) => !/["'`$;&|<>\\]/.test(value))
  .transform((value) => value.split(/\s+/) as [string, ...string[]]);
const flag = z.enum(['true', 'false']).transform((value) => value === 'true');
const optionalCount = text
  .regex(/^[1-9]\d{0,6}$/)
  .optional()
  .transform((value) => (value === undefined ? null : Number(value)));
const logLevel = z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']);
const names = text.transform((value) =>
  [...new Set(value.split(',').map((name) => name.trim()))].filter(Boolean),
);
/** What is ours never reaches a task, even when TASK_ENV names it. */
const NEVER_FOR_TASKS = [
  'WEBHOOK_SECRET',
  'WEBHOOK_SECRET_PREVIOUS',
  'GITHUB_TOKEN',
  'API_TOKENS',
  'IAC_RUNNER_TOKEN',
  'ENCRYPTION_KEY',
  'EVENT_WEBHOOK_SECRET',
  'GIT_REPO_URL',
  'DATA_DIR',
  'REDIS_URL',
  'STORE_URL',
];
const environmentNames = names
  .refine((list) => list.every((name) => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name)))
  .refine((list) => !list.some((name) => NEVER_FOR_TASKS.includes(name)));

const absolutePath = text.refine((value) => path.isAbsolute(value));
const optionalPath = absolutePath.optional().transform((value) => value ?? null);
const hosts = names
  .optional()
  .transform((list) => list ?? [])
  .refine((list) => list.every((host) => /^(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:\d{1,5})?$/i.test(host)));
const redisUrl = text.refine((value) => /^rediss?:\/\/[^\s/]+/i.test(value) && URL.canParse(value));
const labels = names.refine((list) => list.every((label) => /^[\w.-]{1,64}$/.test(label)));

/** A command that judges a plan. `argv` may hold `{plan}`, the path of the plan as JSON. */
export interface PlanCheck {
  name: string;
  argv: [string, ...string[]];
  /** Nothing is approved or applied when it fails. */
  required: boolean;
}

const planChecks = text
  .transform((value, context) => {
    try {
      return JSON.parse(value) as unknown;
    } catch {
      context.addIssue({ code: 'custom', message: 'not JSON' });
      return z.NEVER;
    }
  })
  .pipe(
    z.array(
      z.strictObject({
        name: z.string().regex(/^[A-Za-z0-9-]{1,40}$/),
        command: z.string(),
        required: z.boolean().default(false),
      }),
    ),
  )
  .transform((checks, context) =>
    checks.flatMap(({ name, command, required }): PlanCheck[] => {
      const argv = words.safeParse(command).data;
      if (argv) return [{ name, argv, required }];
      context.addIssue({ code: 'custom', message: 'malformed' });
      return [];
    }),
  )
  .refine((checks) => new Set(checks.map(({ name }) => name)).size === checks.length);

const tokens = text.transform((value, context): ApiToken[] => {
  const list = value.split(',').filter((entry) => entry.trim() !== '');
  return list.flatMap((entry) => {
    const [, name, role, token] = /^\s*([^:\s]+):(viewer|operator|admin):(\S{8,})\s*$/.exec(entry) ?? [];
    if (name && token && (role === 'viewer' || role === 'operator' || role === 'admin')) {
      return [{ name, role, token }];
    }
    context.addIssue({ code: 'custom', message: 'malformed' });
    return [];
  });
});
const uniqueTokens = tokens.refine((list) => new Set(list.map(({ name }) => name)).size === list.length);

/** Every variable, in the order of the documentation. */
export const VARIABLES = {
  WEBHOOK_SECRET: variable({
    schema: secret,
    expected: 'the secret of the GitHub webhook, at least 8 characters and not a placeholder',
    example: 'the output of `openssl rand -hex 32`',
    description: 'Signs `/webhook` and `/sync`. The program does not start without it.',
    default: '(required)',
  }),
  WEBHOOK_SECRET_PREVIOUS: variable({
    schema: secret.optional().transform((value) => value ?? null),
    expected: 'the secret that was in use before, at least 8 characters',
    example: 'the previous value of WEBHOOK_SECRET',
    description: 'Also accepted, while a new secret is being rolled out.',
    default: '(none)',
  }),
  GIT_REPO_URL: variable({
    schema: text
      .min(1)
      .refine((value) => !value.startsWith('-') && !/^\s*[a-z0-9+.-]*::/i.test(value) && !/\s/.test(value)),
    expected: 'the URL of the platform repository (https, ssh, or a local path; no `transport::address`)',
    example: 'https://github.com/acme/platform.git',
    description: 'The platform repository. Credentials in it are used for git only and never shown.',
    default: '(required)',
  }),
  GIT_BRANCH: variable({
    schema: text.regex(/^(?![-/.])(?!.*(\.\.|\/\/|@\{|\.lock$|\/$))[^\s~^:?*[\\\p{Cc}]+$/u),
    expected: 'the name of a branch',
    example: 'main',
    description: 'The branch that is deployed.',
    default: 'main',
  }),
  GITHUB_TOKEN: variable({
    schema: optionalText,
    expected: 'a GitHub token',
    example: 'a fine-grained token with read access to contents and write access to commit statuses',
    description:
      'Reads the repository over https and writes commit statuses. Without it there are no statuses.',
    default: '(none)',
  }),
  GITHUB_REPOSITORY: variable({
    schema: text
      .regex(/^[A-Za-z0-9-]+\/[A-Za-z0-9._-]+$/)
      .optional()
      .transform((value) => value ?? null),
    expected: 'owner/name',
    example: 'acme/platform',
    description: 'The repository on GitHub; pushes of any other are ignored.',
    default: '(from GIT_REPO_URL)',
  }),
  GITHUB_API_URL: variable({
    schema: httpUrl,
    expected: 'an http(s) URL',
    example: 'https://github.example.com/api/v3',
    description: 'The API of GitHub, or of a GitHub Enterprise Server.',
    default: 'https://api.github.com',
  }),
  WEBHOOK_PORT: variable({
    schema: port,
    expected: 'a port number from 0 to 65535',
    example: '8080',
    description: 'The port to listen on; 0 takes any free one.',
    default: '8080',
  }),
  HOST: variable({
    schema: text.min(1),
    expected: 'an address to listen on',
    example: '127.0.0.1',
    description: 'The address to listen on.',
    default: '0.0.0.0',
  }),
  PUBLIC_URL: variable({
    schema: httpUrl.optional().transform((value) => value ?? null),
    expected: 'an http(s) URL',
    example: 'https://iac.example.com',
    description: 'Where people reach this server: the base of every link it gives out.',
    default: '(https://iac.$INTERNAL_DOMAIN when that is set, else http://localhost:$WEBHOOK_PORT)',
  }),
  WORKSPACE_DIR: variable({
    schema: text.refine((value) => path.isAbsolute(value)),
    expected: 'an absolute path',
    example: '/workspace',
    description: 'Holds the checkout `$WORKSPACE_DIR/<repository>` and the lock `.sync.lock`.',
    default: '/workspace',
  }),
  DATA_DIR: variable({
    schema: text
      .refine((value) => path.isAbsolute(value))
      .optional()
      .transform((value) => value ?? null),
    expected: 'an absolute path',
    example: '/var/lib/iac-runner',
    description: 'Holds the store and the git mirror. Back it up; one server at a time uses it.',
    default: '($WORKSPACE_DIR/.iac-runner)',
  }),
  INVOKE_COMMAND: variable({
    schema: words,
    expected: 'a program and its arguments, without quotes or other shell syntax',
    example: 'uv run invoke',
    description: 'What runs a task; called with the one argument `<service>.sync`.',
    default: 'invoke',
  }),
  TASK_ENV: variable({
    schema: environmentNames,
    expected: `names of variables, comma-separated, none of ${NEVER_FOR_TASKS.join(', ')}`,
    example: `${DEFAULT_TASK_ENV},CLOUDFLARE_TOKEN`,
    description: 'The variables that tasks get, besides PATH, HOME and the like. They enter the config hash.',
    default: DEFAULT_TASK_ENV,
  }),
  SYNC_TIMEOUT: variable({
    schema: positiveSeconds,
    expected: 'a number of seconds above 0',
    example: '600',
    description: 'Seconds that one task may take before it is ended with everything it started.',
    default: '600',
  }),
  SYNC_CONCURRENCY: variable({
    schema: count,
    expected: 'a whole number from 1 to 9999',
    example: '4',
    description: 'Tasks of one wave that run at the same time.',
    default: '4',
  }),
  EXECUTOR: variable({
    schema: z.enum(['local', 'isolated']),
    expected: 'local or isolated',
    example: 'isolated',
    description:
      'Where tasks, terraform and tofu run: as children of the server, or through EXECUTOR_COMMAND.',
    default: 'local',
  }),
  EXECUTOR_COMMAND: variable({
    schema: words.optional().transform((value) => value ?? null),
    expected: 'a program and its arguments, without quotes or other shell syntax',
    example: 'sudo -u runner iac-runner exec',
    description: 'What leads to `iac-runner exec` as another user, in a container or on another host.',
    default: '(this program itself, as a process of its own)',
  }),
  STEP_CPU_SECONDS: variable({
    schema: optionalCount,
    expected: 'a whole number from 1 to 9999999',
    example: '3600',
    description: 'Seconds of CPU time that each process of a step may use. Needs prlimit of util-linux.',
    default: '(no limit)',
  }),
  STEP_MEMORY_MB: variable({
    schema: optionalCount,
    expected: 'a whole number from 1 to 9999999',
    example: '4096',
    description:
      'Megabytes of address space that each process of a step may have, also what it only reserves. Needs prlimit.',
    default: '(no limit)',
  }),
  STEP_OPEN_FILES: variable({
    schema: optionalCount,
    expected: 'a whole number from 1 to 9999999',
    example: '1024',
    description: 'Files that each process of a step may have open. Needs prlimit.',
    default: '(no limit)',
  }),
  DRAIN_TIMEOUT: variable({
    schema: seconds,
    expected: 'a number of seconds',
    example: '30',
    description: 'Seconds that running tasks get to finish after SIGTERM, before their run is handed back.',
    default: '30',
  }),
  RETRY_LIMIT: variable({
    schema: count,
    expected: 'a whole number from 1 to 9999',
    example: '3',
    description: 'How many times a run is started when the server dies under it.',
    default: '3',
  }),
  LOG_LIMIT_MB: variable({
    schema: count,
    expected: 'a whole number from 1 to 9999',
    example: '64',
    description: 'Megabytes of output kept of one task; what comes after is read and dropped.',
    default: '64',
  }),
  QUEUE_LIMIT: variable({
    schema: text.regex(/^[1-9]\d{0,6}$/).transform(Number),
    expected: 'a whole number from 1 to 9999999',
    example: '10000',
    description: 'Runs that may wait; a request for one more is answered 503.',
    default: '10000',
  }),
  DISK_FLOOR_MB: variable({
    schema: text.regex(/^\d{1,7}$/).transform(Number),
    expected: 'a whole number from 0 to 9999999',
    example: '512',
    description:
      'Megabytes kept free under DATA_DIR and WORKSPACE_DIR: with less nothing is fetched or checked out.',
    default: '512',
  }),
  RETENTION_DAYS: variable({
    schema: count,
    expected: 'a whole number from 1 to 9999',
    example: '90',
    description: 'Days after which ended runs, their logs, and deliveries are deleted.',
    default: '90',
  }),
  RECONCILE_INTERVAL: variable({
    schema: seconds,
    expected: 'a number of seconds',
    example: '300',
    description: 'Seconds between comparisons of the branch with what was synced; 0: only at start.',
    default: '300',
  }),
  SYNC_RETRIES: variable({
    schema: text.regex(/^\d{1,3}$/).transform(Number),
    expected: 'a whole number from 0 to 999',
    example: '3',
    description: 'How often a failed service is tried again by itself, after 1, 2, 4 … minutes.',
    default: '3',
  }),
  REQUIRE_SIGNED_COMMITS: variable({
    schema: flag,
    expected: 'true or false',
    example: 'true',
    description: 'Refuse commits that no key of COMMIT_SIGNERS has signed, whatever `.iac-runner.yaml` says.',
    default: 'false',
  }),
  COMMIT_SIGNERS: variable({
    schema: text
      .refine((value) => path.isAbsolute(value))
      .optional()
      .transform((value) => value ?? null),
    expected: 'an absolute path',
    example: '/etc/iac-runner/allowed-signers',
    description: 'File of the ssh keys that may sign commits, in the form of ssh-keygen(1), ALLOWED SIGNERS.',
    default: '(none: no signature is good)',
  }),
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
  }),
  SELF_HEAL: variable({
    schema: flag,
    expected: 'true or false',
    example: 'true',
    description: 'Sync a service again when its config hash was changed in Dokploy; else it is only said.',
    default: 'false',
  }),
  API_TOKENS: variable({
    schema: uniqueTokens,
    expected:
      'name:role:token entries, comma-separated, role viewer, operator or admin, tokens of 8 or more characters, each name once',
    example: 'ada:admin:4f9c2e…,dashboard:viewer:77aa01…',
    description: 'Who may read runs (viewer), also retry and cancel them (operator), also approve (admin).',
    default: '',
  }),
  LOG_LEVEL: variable({
    schema: logLevel,
    expected: 'fatal, error, warn, info, debug, trace or silent',
    example: 'info',
    description: 'How much the server says on its standard output, as JSON lines.',
    default: 'info',
  }),
  SYNC_REQUIRE_TIMESTAMP: variable({
    schema: flag,
    expected: 'true or false',
    example: 'true',
    description: 'Refuse `/sync` requests without `X-IAC-Timestamp` and `X-IAC-Nonce`.',
    default: 'false',
  }),
  PREVIEWS: variable({
    schema: flag,
    expected: 'true or false',
    example: 'true',
    description:
      'Tell on each pull request what merging it would sync; the webhook must send `pull_request` events, too.',
    default: 'false',
  }),
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
    schema: optionalText,
    expected: 'a key of 32 bytes: 64 hexadecimal digits, 44 characters of base64, or 32 characters',
    example: 'the output of `openssl rand -hex 32`',
    description:
      'Seals the credentials of requests in the store until their run ends. For jobs: opens the tokens of users.',
    default: '(derived from WEBHOOK_SECRET; `worker` needs it for jobs)',
  }),
  EVENT_WEBHOOK_URL: variable({
    schema: httpUrl.optional().transform((value) => value ?? null),
    expected: 'an http(s) URL',
    example: 'https://hooks.example.com/iac',
    description: 'Told of what becomes of every deployment, besides its own `callback_url`.',
    default: '(none)',
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
  STORE_URL: variable({
    schema: redisUrl.optional().transform((value) => value ?? null),
    expected: 'an address of a Redis, redis:// or with TLS rediss://',
    example: 'rediss://:password@redis.example.com:6379',
    description:
      'Keeps the store in Redis, so that several machines share the work; see redis.md. Unset: a file in DATA_DIR.',
    default: '(none)',
  }),
  WORKER_ID: variable({
    schema: text
      .regex(/^[\w.-]{1,64}$/)
      .optional()
      .transform((value) => value ?? null),
    expected: 'up to 64 letters, digits, dots, dashes and underscores',
    example: 'runner-1',
    description:
      "Names this machine beside others that share STORE_URL: the same after a restart, and nobody else's.",
    default: '(made from the host name and DATA_DIR)',
  }),
  WORKER_LABELS: variable({
    schema: labels,
    expected: 'labels of letters, digits, dots, dashes and underscores, comma-separated',
    example: 'aws,linux',
    description: 'Takes only deployments whose `labels` are all among these. Unset: takes any.',
    default: '',
  }),
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
    description: 'Turns `/pubsub/push` on for OIDC tokens with this audience.',
    default: '(none: off)',
  }),
  PUBSUB_SERVICE_ACCOUNT: variable({
    schema: optionalText,
    expected: 'the e-mail address of a service account',
    example: 'pubsub@project.iam.gserviceaccount.com',
    description: 'Whose tokens are taken.',
    default: '(any)',
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
  REDIS_URL: variable({
    schema: redisUrl.optional().transform((value) => value ?? null),
    expected: 'a redis:// or rediss:// URL',
    example: 'redis://:password@redis.internal:6379/0',
    description: 'Where `worker` takes jobs from, and `serve` the output of jobs.',
    default: '(redis://localhost:6379 for `worker`; `serve` shows no jobs)',
  }),
  RUNNER_ID: variable({
    schema: text
      .regex(/^[\w.:@-]{1,128}$/)
      .optional()
      .transform((value) => value ?? null),
    expected: 'letters, digits and . : @ - _, 128 at most',
    example: 'runner-1',
    description: 'The name of this worker among the consumers of `jobs:stream`.',
    default: '(the host name and the process id)',
  }),
  AGENT_COMMAND: variable({
    schema: optionalText,
    expected: 'a program and its arguments; quotes and backslashes as in a shell, which is not used',
    example: 'claude --print',
    description: 'Works on a job: in a checkout, the prompt on standard input. Unset: jobs change nothing.',
    default: '(none)',
  }),
  AGENT_ENV: variable({
    schema: environmentNames,
    expected: `names of variables, comma-separated, none of ${NEVER_FOR_TASKS.join(', ')}`,
    example: 'ANTHROPIC_API_KEY',
    description: 'The variables that AGENT_COMMAND gets, besides PATH, HOME and the like.',
    default: '',
  }),
  JOB_TIMEOUT: variable({
    schema: positiveSeconds,
    expected: 'a number of seconds above 0',
    example: '3600',
    description: 'Seconds that a job may take before it is ended with everything it started.',
    default: '3600',
  }),
  MAX_CONCURRENT_JOBS: variable({
    schema: count,
    expected: 'a whole number from 1 to 9999',
    example: '10',
    description: 'Jobs that one worker runs at the same time.',
    default: '10',
  }),
  MAX_JOBS_PER_USER: variable({
    schema: count,
    expected: 'a whole number from 1 to 9999',
    example: '3',
    description: 'Jobs of one user that run at the same time, on all workers together.',
    default: '3',
  }),
  CLAIM_IDLE_MS: variable({
    schema: text
      .regex(/^\d{3,9}$/)
      .transform(Number)
      .refine((value) => value >= 500),
    expected: 'a number of milliseconds from 500',
    example: '300000',
    description: 'After so long without a sign of life a worker counts as dead, and others take its jobs.',
    default: '300000',
  }),
  TEMP_DIR: variable({
    schema: absolutePath,
    expected: 'an absolute path',
    example: '/tmp/repobox',
    description: 'Holds the checkout of each running job, named by its id.',
    default: '/tmp/repobox',
  }),
  CLEANUP_AFTER_JOB: variable({
    schema: flag,
    expected: 'true or false',
    example: 'true',
    description: 'Remove the checkout of a job at its end.',
    default: 'true',
  }),
  CREATE_CHANGE_REQUEST: variable({
    schema: flag,
    expected: 'true or false',
    example: 'true',
    description: 'Open a pull request on GitHub, or a merge request on GitLab, for the branch of a job.',
    default: 'false',
  }),
  IAC_RUNNER_TOKEN: variable({
    schema: optionalText,
    expected: 'a token of API_TOKENS, without its name and role',
    example: 'the token of an operator',
    description: 'For the command `deliveries`: who is asking. The server does not read it.',
    default: '(none)',
  }),
} as const;

type VariableName = keyof typeof VARIABLES;
type Values = { [Name in VariableName]: z.output<(typeof VARIABLES)[Name]['schema']> };

/** Variables that children get from the server's own environment when they are set: plumbing, never secrets. */
const PLUMBING = [
  'PATH',
  'HOME',
  'USER',
  'LANG',
  'LC_ALL',
  'TZ',
  'TMPDIR',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'SSH_AUTH_SOCK',
  'DOCKER_HOST',
  'HTTPS_PROXY',
  'HTTP_PROXY',
  'NO_PROXY',
];

/** Defaults of the earlier receiver for what tasks read. */
const TASK_ENV_DEFAULTS: Record<string, string> = { ENV: 'production', PROJECT: 'platform' };

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

export interface PlansConfig {
  /** Plan pull requests of the platform repository. */
  pullRequests: boolean;
  commentCommands: boolean;
  /** Null when `/pubsub/push` is off; `oidc` null: anybody may push. */
  pubsub: {
    oidc: { audience: string; serviceAccount: string | null; issuer: string; jwksUrl: string } | null;
  } | null;
  /** host or host:port. */
  allowedHosts: readonly string[];
}

export interface ExecutorConfig {
  /** Null: children of the server. Empty: the program itself. */
  command: readonly string[] | null;
  /** Of each process of a step. */
  limits: { cpuSeconds: number | null; memoryBytes: number | null; openFiles: number | null };
}

/** What a worker needs for the jobs of `jobs:stream`. */
export interface JobsConfig {
  redisUrl: string;
  /** Null: the host name and the process id. */
  runnerId: string | null;
  /** Not yet split. */
  agentCommand: string | null;
  /** What the agent gets by AGENT_ENV. */
  agentEnvironment: Readonly<Record<string, string>>;
  timeoutMs: number;
  concurrency: number;
  perUser: number;
  claimIdleMs: number;
  maxAttempts: number;
  tempDir: string;
  /** For mirrors; null: below the system's folder for temporary files. */
  stateDir: string | null;
  cleanUp: boolean;
  changeRequests: boolean;
  /** As it was given: one of the forms of a key, or not. */
  encryptionKey: string;
  executor: ExecutorConfig;
  githubApiUrl: string;
  drainTimeoutMs: number;
  logLimitBytes: number;
  remotes: Config['remotes'];
  plumbing: Readonly<Record<string, string>>;
  logLevel: Config['logLevel'];
}

export interface Config {
  webhookSecrets: readonly [string, ...string[]];
  requireTimestamp: boolean;
  git: { url: string; branch: string; token: string | null };
  /** Null when the repository is not on GitHub as far as we know: then there are no statuses. */
  github: { owner: string; repo: string; apiUrl: string; token: string } | null;
  /** `owner/name` that pushes must come from, or null to accept any. */
  repository: string | null;
  githubApiUrl: string;
  server: { host: string; port: number; publicUrl: string | null };
  workspaceDir: string;
  dataDir: string;
  invokeCommand: readonly [string, ...string[]];
  /** What tasks get by TASK_ENV; part of the config hash. */
  taskEnvironment: Readonly<Record<string, string>>;
  /** PATH, HOME and the like, for every child. */
  plumbing: Readonly<Record<string, string>>;
  executor: ExecutorConfig;
  syncTimeoutMs: number;
  syncConcurrency: number;
  drainTimeoutMs: number;
  retryLimit: number;
  requireSignedCommits: boolean;
  commitSigners: string | null;
  reconcileIntervalMs: number;
  syncRetries: number;
  logLimitBytes: number;
  queueLimit: number;
  /** The Redis that is the store, or null: a file in `dataDir`. */
  storeUrl: string | null;
  workerId: string | null;
  diskFloorBytes: number;
  retentionMs: number;
  /** Where config hashes stand besides the ledger, or null. `url` has no final slash. */
  dokploy: { url: string; apiKey: string } | null;
  selfHeal: boolean;
  previews: boolean;
  deploy: DeployConfig;
  plans: PlansConfig;
  /** What requests may name: URLs with these schemes and hosts. No host listed: any public one. */
  remotes: { protocols: readonly string[]; hosts: readonly string[] };
  /** Where the output of jobs stands, or null. */
  redisUrl: string | null;
  /** Base of the key that seals credentials, then of keys that were used before. */
  sealingKeys: readonly [string, ...string[]];
  apiTokens: readonly ApiToken[];
  logLevel: z.output<typeof logLevel>;
}

/**
 * Reads and checks the whole environment. Throws ConfigError naming every variable that is wrong, what was
 * expected and an example; never the value, which may be a secret.
 */
export function loadConfig(environment: Environment = process.env): Config {
  const values = parse(environment, Object.keys(VARIABLES) as VariableName[]) as Values;
  return Object.freeze(assemble(values, environment));
}

/** What `sync` and `sign` need to talk to a running server. */
export function loadClientConfig(environment: Environment = process.env): { secret: string; url: string } {
  const values = parse(environment, ['WEBHOOK_SECRET', 'PUBLIC_URL', 'WEBHOOK_PORT']) as Values;
  return { secret: values.WEBHOOK_SECRET, url: serverUrl(values, environment) };
}

/** What `deliveries` needs to talk to a running server. */
export function loadApiClientConfig(environment: Environment = process.env): { token: string; url: string } {
  const values = parse(environment, ['IAC_RUNNER_TOKEN', 'PUBLIC_URL', 'WEBHOOK_PORT']) as Values;
  const token = values.IAC_RUNNER_TOKEN;
  if (token === null) throw new ConfigError(problemWith('IAC_RUNNER_TOKEN', undefined));
  return { token, url: serverUrl(values, environment) };
}

const JOB_VARIABLES = [
  ...([
    'REDIS_URL',
    'RUNNER_ID',
    'AGENT_COMMAND',
    'AGENT_ENV',
    'JOB_TIMEOUT',
    'MAX_CONCURRENT_JOBS',
  ] as const),
  ...(['MAX_JOBS_PER_USER', 'CLAIM_IDLE_MS', 'TEMP_DIR', 'CLEANUP_AFTER_JOB'] as const),
  ...(['CREATE_CHANGE_REQUEST', 'ENCRYPTION_KEY', 'RETRY_LIMIT', 'DRAIN_TIMEOUT', 'LOG_LIMIT_MB'] as const),
  ...(['GIT_ALLOWED_PROTOCOLS', 'GIT_ALLOWED_HOSTS', 'GITHUB_API_URL', 'DATA_DIR', 'LOG_LEVEL'] as const),
  ...(['EXECUTOR', 'EXECUTOR_COMMAND', 'STEP_CPU_SECONDS', 'STEP_MEMORY_MB', 'STEP_OPEN_FILES'] as const),
];

/**
 * What `worker` is to do. `jobs` is null when only STORE_URL is set; with neither address they are looked for on this
 * machine. They need nothing of a server.
 */
export function loadWorkerConfig(environment: Environment = process.env): {
  jobs: JobsConfig | null;
  hasStore: boolean;
  logLevel: Config['logLevel'];
} {
  const values = parse(environment, ['STORE_URL', 'REDIS_URL', 'LOG_LEVEL']) as Values;
  const hasStore = values.STORE_URL !== null;
  const jobs = hasStore && values.REDIS_URL === null ? null : loadJobsConfig(environment);
  return { jobs, hasStore, logLevel: values.LOG_LEVEL };
}

function loadJobsConfig(environment: Environment): JobsConfig {
  const values = parse(environment, JOB_VARIABLES) as Values;
  if (values.ENCRYPTION_KEY === null) throw new ConfigError(problemWith('ENCRYPTION_KEY', undefined));
  return Object.freeze({
    redisUrl: values.REDIS_URL ?? 'redis://localhost:6379',
    runnerId: values.RUNNER_ID,
    agentCommand: values.AGENT_COMMAND,
    agentEnvironment: pick(given(environment), values.AGENT_ENV),
    timeoutMs: values.JOB_TIMEOUT,
    concurrency: values.MAX_CONCURRENT_JOBS,
    perUser: values.MAX_JOBS_PER_USER,
    claimIdleMs: values.CLAIM_IDLE_MS,
    maxAttempts: values.RETRY_LIMIT,
    tempDir: values.TEMP_DIR,
    stateDir: values.DATA_DIR,
    cleanUp: values.CLEANUP_AFTER_JOB,
    changeRequests: values.CREATE_CHANGE_REQUEST,
    // Not the trimmed value: 32 characters may begin or end with a blank.
    encryptionKey: environment.ENCRYPTION_KEY ?? '',
    executor: executorConfig(values),
    githubApiUrl: values.GITHUB_API_URL,
    drainTimeoutMs: values.DRAIN_TIMEOUT,
    logLimitBytes: values.LOG_LIMIT_MB * 1024 * 1024,
    remotes: { protocols: values.GIT_ALLOWED_PROTOCOLS, hosts: values.GIT_ALLOWED_HOSTS },
    plumbing: pick(given(environment), PLUMBING),
    logLevel: values.LOG_LEVEL,
  });
}

function serverUrl(values: Values, environment: Environment): string {
  return publicUrl(values, environment) ?? `http://localhost:${values.WEBHOOK_PORT}`;
}

/** Where `tools` looks for terraform and tofu. */
export function loadToolPlaces(environment: Environment = process.env): {
  path: string;
  toolsDir: string | null;
} {
  const { TOOLS_DIR } = parse(environment, ['TOOLS_DIR']) as Values;
  return { path: environment.PATH ?? '', toolsDir: TOOLS_DIR };
}

/** What commands that work without a server give to the programs they start. */
export function loadPlumbing(environment: Environment = process.env): Readonly<Record<string, string>> {
  return pick(given(environment), PLUMBING);
}

function parse(environment: Environment, wanted: VariableName[]): Partial<Values> {
  const problems: string[] = [];
  const entries = wanted.map((name) => {
    const { schema, default: fallback } = VARIABLES[name];
    const given = environment[name]?.trim() === '' ? undefined : environment[name];
    const result = schema.safeParse(given ?? (fallback.startsWith('(') ? undefined : fallback));
    if (result.success) return [name, result.data];
    problems.push(problemWith(name, given));
    return [name, undefined];
  });
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
  return Object.fromEntries(entries);
}

/** One line for the reader, without the value, which may be a secret. */
function problemWith(name: VariableName, given: string | undefined): string {
  const { expected, example } = VARIABLES[name];
  return `${name} ${given === undefined ? 'is missing' : 'is wrong'}: expected ${expected}, e.g. ${example}.`;
}

function assemble(values: Values, environment: Environment): Config {
  const repository = values.GITHUB_REPOSITORY ?? repositoryOf(values.GIT_REPO_URL, values.GITHUB_API_URL);
  const [owner, repo] = repository?.split('/') ?? [];
  const token = values.GITHUB_TOKEN;
  const previous = values.WEBHOOK_SECRET_PREVIOUS;
  return {
    webhookSecrets: previous ? [values.WEBHOOK_SECRET, previous] : [values.WEBHOOK_SECRET],
    requireTimestamp: values.SYNC_REQUIRE_TIMESTAMP,
    git: { url: values.GIT_REPO_URL, branch: values.GIT_BRANCH, token },
    github: owner && repo && token ? { owner, repo, apiUrl: values.GITHUB_API_URL, token } : null,
    repository,
    githubApiUrl: values.GITHUB_API_URL,
    server: {
      host: values.HOST,
      port: values.WEBHOOK_PORT,
      publicUrl: publicUrl(values, environment),
    },
    workspaceDir: values.WORKSPACE_DIR,
    dataDir: values.DATA_DIR ?? path.join(values.WORKSPACE_DIR, '.iac-runner'),
    invokeCommand: values.INVOKE_COMMAND,
    taskEnvironment: pick({ ...TASK_ENV_DEFAULTS, ...given(environment) }, values.TASK_ENV),
    plumbing: pick(given(environment), PLUMBING),
    executor: executorConfig(values),
    syncTimeoutMs: values.SYNC_TIMEOUT,
    syncConcurrency: values.SYNC_CONCURRENCY,
    drainTimeoutMs: values.DRAIN_TIMEOUT,
    retryLimit: values.RETRY_LIMIT,
    requireSignedCommits: values.REQUIRE_SIGNED_COMMITS,
    commitSigners: values.COMMIT_SIGNERS,
    reconcileIntervalMs: values.RECONCILE_INTERVAL,
    syncRetries: values.SYNC_RETRIES,
    logLimitBytes: values.LOG_LIMIT_MB * 1024 * 1024,
    queueLimit: values.QUEUE_LIMIT,
    storeUrl: values.STORE_URL,
    workerId: values.WORKER_ID,
    diskFloorBytes: values.DISK_FLOOR_MB * 1024 * 1024,
    retentionMs: values.RETENTION_DAYS * 86_400 * SECOND_MS,
    dokploy: values.CONFIG_HASH_STORE === 'dokploy' ? dokployOf(values, environment) : null,
    selfHeal: values.SELF_HEAL,
    previews: values.PREVIEWS,
    deploy: deployConfig(values, environment),
    plans: plansConfig(values),
    remotes: { protocols: values.GIT_ALLOWED_PROTOCOLS, hosts: values.GIT_ALLOWED_HOSTS },
    sealingKeys: [
      values.ENCRYPTION_KEY ?? values.WEBHOOK_SECRET,
      ...(previous && values.ENCRYPTION_KEY === null ? [previous] : []),
    ],
    redisUrl: values.REDIS_URL,
    apiTokens: values.API_TOKENS,
    logLevel: values.LOG_LEVEL,
  };
}

function executorConfig(values: Values): ExecutorConfig {
  const { EXECUTOR_COMMAND: command, STEP_MEMORY_MB: megabytes } = values;
  if (command !== null && values.EXECUTOR === 'local') {
    throw new ConfigError('EXECUTOR_COMMAND is set, but EXECUTOR is not isolated: set that, or unset this.');
  }
  return {
    command: values.EXECUTOR === 'isolated' ? (command ?? []) : null,
    limits: {
      cpuSeconds: values.STEP_CPU_SECONDS,
      memoryBytes: megabytes === null ? null : megabytes * 1024 * 1024,
      openFiles: values.STEP_OPEN_FILES,
    },
  };
}

function deployConfig(values: Values, environment: Environment): DeployConfig {
  const { EVENT_WEBHOOK_SECRET: secret, EVENT_WEBHOOK_URL: url, DRIFT_TARGETS: file } = values;
  if (url !== null && secret === null) throw new ConfigError(problemWith('EVENT_WEBHOOK_SECRET', undefined));
  const dataDir = values.DATA_DIR ?? path.join(values.WORKSPACE_DIR, '.iac-runner');
  return {
    directory: values.DEPLOY_DIR,
    concurrency: values.MAX_CONCURRENT_RUNS,
    approvalTimeoutMs: values.APPROVAL_TIMEOUT,
    cancelGraceMs: values.CANCEL_GRACE,
    toolsDir: values.TOOLS_DIR,
    pluginCacheDir: values.PLUGIN_CACHE_DIR ?? path.join(dataDir, 'providers'),
    providerMirrorDir: values.PROVIDER_MIRROR_DIR,
    checks: values.PLAN_CHECKS,
    allowedOrigins: values.ALLOWED_ORIGINS,
    registryUrl: values.REGISTRY_HOST,
    eventWebhook: secret === null ? null : { url, secret },
    drift:
      file === null ? null : { file, intervalMs: values.DRIFT_INTERVAL, environment: notOurs(environment) },
    labels: values.WORKER_LABELS.length === 0 ? null : values.WORKER_LABELS,
  };
}

function plansConfig(values: Values): PlansConfig {
  const { PUBSUB_AUDIENCE: audience, PLAN_ALLOWED_HOSTS: listed } = values;
  const oidc =
    audience === null
      ? null
      : {
          audience,
          serviceAccount: values.PUBSUB_SERVICE_ACCOUNT,
          issuer: values.PUBSUB_ISSUER,
          jwksUrl: values.PUBSUB_JWKS_URL,
        };
  return {
    pullRequests: values.PLANS,
    commentCommands: values.COMMENT_COMMANDS,
    pubsub: oidc !== null || values.PUBSUB_ALLOW_UNAUTHENTICATED ? { oidc } : null,
    allowedHosts: listed.length > 0 ? listed : [new URL(values.GITHUB_API_URL).host, 'github.com'],
  };
}

function publicUrl(values: Values, environment: Environment): string | null {
  if (values.PUBLIC_URL) return values.PUBLIC_URL;
  const domain = environment.INTERNAL_DOMAIN?.trim();
  return domain ? `https://iac.${domain}` : null;
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
  throw new ConfigError(wrong.map(([name, value]) => problemWith(name, value ?? undefined)).join('\n'));
}

function given(environment: Environment): Record<string, string> {
  return Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

function notOurs(environment: Environment): Record<string, string> {
  return Object.fromEntries(
    Object.entries(given(environment)).filter(([name]) => !NEVER_FOR_TASKS.includes(name)),
  );
}

function pick(environment: Record<string, string>, list: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    list.flatMap((name) => {
      const value = environment[name];
      return value === undefined || value === '' ? [] : [[name, value]];
    }),
  );
}

/** `owner/name` of a repository on github.com or on the Enterprise Server behind the API address, else null. */
function repositoryOf(url: string, apiUrl: string): string | null {
  const apiHost = new URL(apiUrl).hostname;
  const hosts = new Set([apiHost === 'api.github.com' ? 'github.com' : apiHost]);
  const scp = /^(?:[^@/]+@)?([^:/]+):(?!\/\/)\/?(.+)$/.exec(url);
  const [host, location] =
    URL.canParse(url) && !scp ? [new URL(url).hostname, new URL(url).pathname] : [scp?.[1], scp?.[2]];
  const name = location?.replace(/^\/+|\/+$/g, '').replace(/\.git$/, '');
  return host && hosts.has(host) && name && /^[A-Za-z0-9-]+\/[A-Za-z0-9._-]+$/.test(name) ? name : null;
}
