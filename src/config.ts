/** The configuration from the environment, checked once and frozen. Nothing else reads process.env. */

import { type Environment, plumbingOf } from './config/environment.ts';
import {
  hasRepositories,
  type ReadConfigFile,
  readConfigFile,
  variablesNamedIn,
} from './config/file/config-file.ts';
import { readFromFile } from './config/file/from-file.ts';
import { LIMITS } from './config/limits.ts';
import type { NotifyRule } from './config/notify.ts';
import type { RepositoryConfig } from './config/repositories.ts';
import { withSecretFiles } from './config/secret-files.ts';
import { neverForTasks, type SecretsConfig, secretsConfig, without } from './config/secrets.ts';
import { ACCESS, accessConfig } from './config/tables/access.ts';
import { CLIENT, readApiClientConfig, readClientConfig, readSenderConfig } from './config/tables/client.ts';
import {
  DEPLOYMENTS,
  DRIFT,
  deployConfig,
  driftConfig,
  EVENTS,
  eventWebhookConfig,
  KEYS,
  REMOTES,
  sealingKeys,
} from './config/tables/deployments.ts';
import { DOKPLOY, dokployConfig } from './config/tables/dokploy.ts';
import { EXECUTOR, executorConfig } from './config/tables/executor.ts';
import { FOLDERS, foldersConfig } from './config/tables/folders.ts';
import { GIT, gitTable, oneRepository } from './config/tables/git.ts';
import { JOBS, type JobsConfig, readJobsConfig } from './config/tables/jobs.ts';
import { OIDC, oidcConfig } from './config/tables/oidc.ts';
import { PLANS, PUBSUB, plansConfig } from './config/tables/plans.ts';
import { LOG, SERVER, serverConfig } from './config/tables/server.ts';
import { LABELS, STORE } from './config/tables/store.ts';
import { SYNC } from './config/tables/sync.ts';
import { TASKS, tasksConfig } from './config/tables/tasks.ts';
import { WALL, wallConfig } from './config/tables/wall.ts';
import { unknownVariables } from './config/unknown.ts';
import { parse, type ValuesOf, type Variable } from './config/variable.ts';
import { ConfigError, UsageError } from './errors.ts';

export type { Environment } from './config/environment.ts';
export type { PlanCheck } from './config/plan-checks.ts';
export type { SecretsConfig } from './config/secrets.ts';
export { type ApiToken, isRole, ROLES, type Role } from './config/tables/access.ts';
export type { JobsConfig } from './config/tables/jobs.ts';
export type { OidcConfig } from './config/tables/oidc.ts';

/** Every variable by its subject, in the order of the documentation. */
export const SUBJECTS = {
  access: ACCESS,
  oidc: OIDC,
  git: GIT,
  server: SERVER,
  log: LOG,
  folders: FOLDERS,
  tasks: TASKS,
  sync: SYNC,
  limits: LIMITS,
  executor: EXECUTOR,
  wall: WALL,
  plans: PLANS,
  pubsub: PUBSUB,
  deployments: DEPLOYMENTS,
  remotes: REMOTES,
  keys: KEYS,
  events: EVENTS,
  drift: DRIFT,
  dokploy: DOKPLOY,
  store: STORE,
  labels: LABELS,
  jobs: JOBS,
  client: CLIENT,
} as const;

/** Every variable by its name in the environment. */
export const VARIABLES: Readonly<Record<string, Variable<unknown>>> = Object.fromEntries(
  Object.values(SUBJECTS).flatMap((table) => Object.values(table).map((one) => [one.name, one])),
);

/** The configuration of `serve` and `worker`. */
export type Config = ReturnType<typeof loadConfig>;

/**
 * Reads and checks the whole environment, and the file that CONFIG_FILE names. Throws ConfigError with every mistake,
 * what was expected and an example; never with the value, which may be a secret.
 */
export function loadConfig(given: Environment = process.env) {
  return withHints(given, () => readConfig(withSecretFiles(VARIABLES, given)));
}

function readConfig(environment: Environment) {
  const read = readConfigFile(environment);
  const never = neverForTasks(VARIABLES, variablesNamedIn(read));
  const git = gitTable(Boolean(environment[GIT.configFile.name]?.trim()) && hasRepositories(read.file));
  const values = parse({ ...SUBJECTS, git }, environment, never, read.problems);
  const { repositories, notify, secrets } = fromFile(read, values, environment);
  const access = accessConfig(values.access);
  const folders = foldersConfig(values.folders);
  const executor = executorConfig(values.executor);
  const plans = plansConfig(values.plans, values.pubsub, values.git.githubApiUrl);
  return Object.freeze({
    ...access,
    /** At least one. */
    repositories,
    /** Who is told what. */
    notify,
    githubApiUrl: values.git.githubApiUrl,
    server: serverConfig(values.server),
    oidc: oidcConfig(values.oidc, values.server.publicUrl),
    ...values.log,
    ...folders,
    ...tasksConfig(values.tasks, environment, never),
    ...values.sync,
    ...values.limits,
    executor,
    wall: wallConfig(values.wall, executor, plans),
    previews: values.plans.previews,
    plans,
    deploy: {
      ...deployConfig(values.deployments, { ...values.labels, ...folders }),
      eventWebhook: eventWebhookConfig(values.events),
      drift: driftConfig(values.drift, without(never, environment)),
    },
    remotes: values.remotes,
    /** The base of the key that seals credentials, then the bases of earlier keys. */
    sealingKeys: sealingKeys(values.keys, access.webhookSecrets),
    dokploy: dokployConfig(values.dokploy, values.server.internalDomain, repositories),
    selfHeal: values.dokploy.selfHeal,
    ...values.store,
    /** The Redis that has the output of jobs, or null. */
    redisUrl: values.jobs.redisUrl,
    secrets: secretsConfig(VARIABLES, environment, secrets),
  });
}

/** The repositories, who is told, and the texts among them to mask that are not in the variables. */
function fromFile(
  { file }: ReadConfigFile,
  { git, events }: { git: ValuesOf<typeof GIT>; events: ValuesOf<typeof EVENTS> },
  environment: Environment,
): {
  repositories: readonly RepositoryConfig[];
  notify: readonly NotifyRule[];
  secrets: SecretsConfig;
} {
  if (file === null) {
    return { repositories: [oneRepository(git)], notify: [], secrets: { values: [], others: {} } };
  }
  const { token, githubApiUrl } = git;
  const never = neverForTasks(VARIABLES);
  const read = readFromFile(file, { environment, token, githubApiUrl, never, eventSecret: events.secret });
  return { ...read, repositories: read.repositories ?? [oneRepository(git)] };
}

/**
 * Says what `worker` works on. `jobs` is null when only STORE_URL is set; with neither address, jobs are taken from a
 * Redis on this machine. Jobs need no variables of a server.
 */
export function loadWorkerConfig(given: Environment = process.env) {
  return withHints(given, () => readWorkerConfig(withSecretFiles(VARIABLES, given)));
}

function readWorkerConfig(environment: Environment) {
  const { storeUrl } = STORE;
  const { redisUrl } = JOBS;
  const { own } = parse({ own: { storeUrl, redisUrl, ...LOG } }, environment);
  const hasStore = own.storeUrl !== null;
  const jobs: JobsConfig | null =
    hasStore && own.redisUrl === null ? null : readJobsConfig(environment, VARIABLES);
  return { jobs, hasStore, logLevel: own.logLevel };
}

/** A line, without the value, for each variable that looks like ours and is none. */
export function loadUnknownVariables(environment: Environment = process.env): string[] {
  return unknownVariables(VARIABLES, environment, variablesNamedIn(readConfigFile(environment)));
}

/** Adds misspelled variables to an error, because one of them may be what is missing. */
function withHints<T>(environment: Environment, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const hints = loadUnknownVariables(environment);
    if (hints.length === 0) throw error;
    const { message, nextAction } = error;
    throw new ConfigError([message, ...hints].join('\n'), {
      cause: error,
      ...(nextAction && { nextAction }),
    });
  }
}

/** The secret and the address with which `sign` makes requests for a running server. */
export function loadClientConfig(environment: Environment = process.env): { secret: string; url: string } {
  return withHints(environment, () => readClientConfig(environment));
}

/** The token and the address with which subcommands talk to a running server. */
export function loadApiClientConfig(environment: Environment = process.env): { token: string; url: string } {
  return withHints(environment, () => readApiClientConfig(environment));
}

/** The same with the token, if there is one, or else with the secret. */
export function loadSenderConfig(environment: Environment = process.env) {
  return withHints(environment, () => readSenderConfig(environment));
}

/** The places where `tools` looks for terraform and tofu. */
export function loadToolPlaces(environment: Environment = process.env) {
  const { toolsDir } = DEPLOYMENTS;
  return { path: environment.PATH ?? '', ...parse({ own: { toolsDir } }, environment).own };
}

/** The values of the variables that somebody named to pass on to a deployment. Throws UsageError for one that is not set. */
export function loadDeployVariables(
  names: readonly string[],
  environment: Environment = process.env,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    names.map((name) => {
      const value = environment[name];
      if (value === undefined)
        throw new UsageError(`The variable ${name} is not set in your shell. Export it first.`);
      return [name, value];
    }),
  );
}

/** The variables that subcommands without a server give to the programs that they start. */
export function loadPlumbing(environment: Environment = process.env): Readonly<Record<string, string>> {
  return plumbingOf(environment);
}
