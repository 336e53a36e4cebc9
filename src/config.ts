/** The environment, checked once and frozen: the only reader of process.env. Each subject has its file in config/. */

import {
  type AccessConfig,
  accessConfig,
  REPLAY_VARIABLES,
  SECRET_VARIABLES,
  TOKEN_VARIABLES,
} from './config/access.ts';
import { CLIENT_VARIABLES, readApiClientConfig, readClientConfig } from './config/client.ts';
import {
  DEPLOYMENT_VARIABLES,
  type DeployConfig,
  deployConfig,
  type RemotesConfig,
  remotesConfig,
  sealingKeys,
} from './config/deployments.ts';
import { DOKPLOY_VARIABLES, type DokployConfig, dokployConfig } from './config/dokploy.ts';
import { type Environment, plumbingOf } from './config/environment.ts';
import { EXECUTOR_VARIABLES, type ExecutorConfig, executorConfig } from './config/executor.ts';
import { FOLDER_VARIABLES, type FoldersConfig, foldersConfig } from './config/folders.ts';
import { GIT_VARIABLES, type GitConfig, gitConfig } from './config/git.ts';
import { JOB_VARIABLES, type JobsConfig, readJobsConfig } from './config/jobs.ts';
import { LIMIT_VARIABLES, type LimitsConfig, limitsConfig } from './config/limits.ts';
import { PLAN_VARIABLES, type PlansConfig, PREVIEW_VARIABLES, plansConfig } from './config/plans.ts';
import { neverForTasks, type SecretsConfig, secretsConfig, withoutOurs } from './config/secrets.ts';
import {
  LOG_VARIABLES,
  type LogLevel,
  SERVER_VARIABLES,
  type ServerConfig,
  serverConfig,
} from './config/server.ts';
import { STORE_VARIABLES, type StoreConfig, storeConfig } from './config/store.ts';
import { SYNC_VARIABLES, type SyncConfig, syncConfig } from './config/sync.ts';
import { TASK_VARIABLES, type TasksConfig, tasksConfig } from './config/tasks.ts';
import { parse } from './config/variable.ts';
import { WALL_VARIABLES, type WallConfig, wallConfig } from './config/wall.ts';

export type { ApiToken, Role } from './config/access.ts';
export type { DeployConfig } from './config/deployments.ts';
export type { Environment } from './config/environment.ts';
export type { ExecutorConfig } from './config/executor.ts';
export type { JobsConfig } from './config/jobs.ts';
export type { PlanCheck } from './config/plan-checks.ts';
export type { PlansConfig } from './config/plans.ts';
export type { SecretsConfig } from './config/secrets.ts';

/** Every variable, in the order of the documentation. */
export const VARIABLES = {
  ...SECRET_VARIABLES,
  ...GIT_VARIABLES,
  ...SERVER_VARIABLES,
  ...FOLDER_VARIABLES,
  ...TASK_VARIABLES,
  ...EXECUTOR_VARIABLES,
  ...WALL_VARIABLES,
  ...LIMIT_VARIABLES,
  ...SYNC_VARIABLES,
  ...DOKPLOY_VARIABLES,
  ...TOKEN_VARIABLES,
  ...LOG_VARIABLES,
  ...REPLAY_VARIABLES,
  ...PREVIEW_VARIABLES,
  ...DEPLOYMENT_VARIABLES,
  ...STORE_VARIABLES,
  ...PLAN_VARIABLES,
  ...JOB_VARIABLES,
  ...CLIENT_VARIABLES,
} as const;

/** What `serve` and `worker` are built from. */
export interface Config
  extends AccessConfig,
    GitConfig,
    ServerConfig,
    FoldersConfig,
    TasksConfig,
    LimitsConfig,
    SyncConfig,
    DokployConfig,
    StoreConfig {
  executor: ExecutorConfig;
  wall: WallConfig;
  previews: boolean;
  deploy: DeployConfig;
  plans: PlansConfig;
  remotes: RemotesConfig;
  /** Where the output of jobs stands, or null. */
  redisUrl: string | null;
  /** Base of the key that seals credentials, then of keys that were used before. */
  sealingKeys: readonly [string, ...string[]];
  secrets: SecretsConfig;
}

/**
 * Reads and checks the whole environment. Throws ConfigError naming every variable that is wrong, what was
 * expected and an example; never the value, which may be a secret.
 */
export function loadConfig(environment: Environment = process.env): Config {
  const values = parse(VARIABLES, environment, neverForTasks(VARIABLES));
  const executor = executorConfig(values);
  const plans = plansConfig(values);
  return Object.freeze({
    ...accessConfig(values),
    ...gitConfig(values),
    ...serverConfig(values, environment),
    ...foldersConfig(values),
    ...tasksConfig(values, environment),
    ...limitsConfig(values),
    ...syncConfig(values),
    executor,
    wall: wallConfig(values, executor, plans),
    ...dokployConfig(values, environment),
    ...storeConfig(values),
    previews: values.PREVIEWS,
    deploy: deployConfig(values, withoutOurs(VARIABLES, environment)),
    plans,
    remotes: remotesConfig(values),
    redisUrl: values.REDIS_URL,
    sealingKeys: sealingKeys(values),
    secrets: secretsConfig(VARIABLES, environment),
  });
}

/**
 * What `worker` is to do. `jobs` is null when only STORE_URL is set; with neither address they are looked for on this
 * machine. They need nothing of a server.
 */
export function loadWorkerConfig(environment: Environment = process.env): {
  jobs: JobsConfig | null;
  hasStore: boolean;
  logLevel: LogLevel;
} {
  const { STORE_URL } = STORE_VARIABLES;
  const { REDIS_URL } = JOB_VARIABLES;
  const values = parse({ STORE_URL, REDIS_URL, ...LOG_VARIABLES }, environment);
  const hasStore = values.STORE_URL !== null;
  const jobs = hasStore && values.REDIS_URL === null ? null : readJobsConfig(environment, VARIABLES);
  return { jobs, hasStore, logLevel: values.LOG_LEVEL };
}

/** What `sync` and `sign` need to talk to a running server. */
export function loadClientConfig(environment: Environment = process.env): { secret: string; url: string } {
  return readClientConfig(environment);
}

/** What `deliveries` needs to talk to a running server. */
export function loadApiClientConfig(environment: Environment = process.env): { token: string; url: string } {
  return readApiClientConfig(environment);
}

/** Where `tools` looks for terraform and tofu. */
export function loadToolPlaces(environment: Environment = process.env): {
  path: string;
  toolsDir: string | null;
} {
  const { TOOLS_DIR } = DEPLOYMENT_VARIABLES;
  const values = parse({ TOOLS_DIR }, environment);
  return { path: environment.PATH ?? '', toolsDir: values.TOOLS_DIR };
}

/** What commands that work without a server give to the programs they start. */
export function loadPlumbing(environment: Environment = process.env): Readonly<Record<string, string>> {
  return plumbingOf(environment);
}
