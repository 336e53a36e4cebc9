/** The jobs of `jobs:stream`, and what else a worker reads for them: nothing of a server. */

import { ConfigError } from '../errors.ts';
import { DEPLOYMENT_VARIABLES, type RemotesConfig, remotesConfig } from './deployments.ts';
import { type Environment, given, pick, plumbingOf } from './environment.ts';
import { EXECUTOR_VARIABLES, type ExecutorConfig, executorConfig } from './executor.ts';
import { FOLDER_VARIABLES } from './folders.ts';
import { GIT_VARIABLES } from './git.ts';
import { LIMIT_VARIABLES, logLimitBytes } from './limits.ts';
import { neverForTasks, type SecretsConfig, secretsConfig } from './secrets.ts';
import { LOG_VARIABLES, type LogLevel } from './server.ts';
import {
  absolutePath,
  count,
  environmentNames,
  flag,
  optionalText,
  positiveSeconds,
  redisUrl,
  text,
} from './shapes.ts';
import { parse, problemWith, type Table, variable } from './variable.ts';

export const JOB_VARIABLES = {
  REDIS_URL: variable({
    schema: redisUrl.optional().transform((value) => value ?? null),
    expected: 'a redis:// or rediss:// URL',
    example: 'redis://:password@redis.internal:6379/0',
    description: 'Where `worker` takes jobs from, and `serve` the output of jobs.',
    default: '(redis://localhost:6379 for `worker`; `serve` shows no jobs)',
    secret: 'in_url',
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
    namesVariables: true,
    expected: 'names of variables, comma-separated, none of those that tasks never get (docs/tasks.md)',
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
} as const;

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
  remotes: RemotesConfig;
  plumbing: Readonly<Record<string, string>>;
  secrets: SecretsConfig;
  logLevel: LogLevel;
}

/** In the order of what is said when they are wrong. */
const READ = {
  ...JOB_VARIABLES,
  ENCRYPTION_KEY: DEPLOYMENT_VARIABLES.ENCRYPTION_KEY,
  RETRY_LIMIT: LIMIT_VARIABLES.RETRY_LIMIT,
  DRAIN_TIMEOUT: LIMIT_VARIABLES.DRAIN_TIMEOUT,
  LOG_LIMIT_MB: LIMIT_VARIABLES.LOG_LIMIT_MB,
  GIT_ALLOWED_PROTOCOLS: DEPLOYMENT_VARIABLES.GIT_ALLOWED_PROTOCOLS,
  GIT_ALLOWED_HOSTS: DEPLOYMENT_VARIABLES.GIT_ALLOWED_HOSTS,
  GITHUB_API_URL: GIT_VARIABLES.GITHUB_API_URL,
  DATA_DIR: FOLDER_VARIABLES.DATA_DIR,
  ...LOG_VARIABLES,
  ...EXECUTOR_VARIABLES,
} as const;

/** `table` holds every variable there is, to know what is secret. */
export function readJobsConfig(environment: Environment, table: Table): JobsConfig {
  const values = parse(READ, environment, neverForTasks(table));
  if (values.ENCRYPTION_KEY === null) throw new ConfigError(problemWith(READ, 'ENCRYPTION_KEY', undefined));
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
    logLimitBytes: logLimitBytes(values),
    remotes: remotesConfig(values),
    plumbing: plumbingOf(environment),
    secrets: secretsConfig(table, environment),
    logLevel: values.LOG_LEVEL,
  });
}
