/** The jobs of `jobs:stream`. A worker that only runs jobs needs no other variables of a server. */

import { ConfigError } from '../../errors.ts';
import { type Environment, given, pick, plumbingOf } from '../environment.ts';
import { LIMITS } from '../limits.ts';
import { neverForTasks, secretsConfig } from '../secrets.ts';
import {
  absolutePath,
  anyText,
  count,
  environmentNames,
  flag,
  matching,
  positiveSeconds,
  text,
} from '../shapes.ts';
import { parse, problemWith, type Table, variable } from '../variable.ts';
import { KEYS, REMOTES } from './deployments.ts';
import { EXECUTOR, executorConfig } from './executor.ts';
import { FOLDERS } from './folders.ts';
import { GIT } from './git.ts';
import { LOG } from './server.ts';

/** With or without the number of a database. */
const redisUrl = text.refine(
  (value) => /^rediss?:\/\/[^\s/]+(\/\d{0,4})?([?#]\S*)?$/i.test(value) && URL.canParse(value),
);
const milliseconds = text
  .regex(/^\d{3,9}$/)
  .transform(Number)
  .refine((value) => value >= 500);

const redisUrlShape = { schema: redisUrl, expected: 'a redis:// or rediss:// URL' };
const runnerIdShape = matching(/^[\w.:@-]{1,128}$/, 'letters, digits and . : @ - _, 128 at most');
const agentCommandShape = anyText(
  'a program and its arguments; quotes and backslashes as in a shell, which is not used',
);
const claimIdleMsShape = { schema: milliseconds, expected: 'a number of milliseconds from 500' };

export const JOBS = {
  redisUrl: variable('REDIS_URL', redisUrlShape, {
    unset: 'redis://localhost:6379 for `worker`; `serve` shows no jobs',
    example: 'redis://:password@redis.internal:6379/0',
    description: 'Where `worker` takes jobs from, and `serve` the output of jobs.',
    secret: 'in_url',
  }),
  runnerId: variable('RUNNER_ID', runnerIdShape, {
    unset: 'the host name and the process id',
    example: 'runner-1',
    description: 'The name of this worker among the consumers of `jobs:stream`.',
  }),
  /** The command is split into words when it is used. */
  agentCommand: variable('AGENT_COMMAND', agentCommandShape, {
    unset: 'none',
    example: 'claude --print',
    description:
      'The program that works on a job, in a checkout, with the prompt on standard input. Unset: jobs change nothing.',
  }),
  agentEnv: variable('AGENT_ENV', environmentNames, {
    default: '',
    example: 'ANTHROPIC_API_KEY',
    description: 'The variables that AGENT_COMMAND gets, besides PATH, HOME and the like.',
    namesVariables: true,
  }),
  timeoutMs: variable('JOB_TIMEOUT', positiveSeconds, {
    default: '3600',
    description: 'Seconds that a job may take before it is ended with everything it started.',
  }),
  concurrency: variable('MAX_CONCURRENT_JOBS', count, {
    default: '10',
    description: 'How many jobs one worker runs at the same time.',
  }),
  perUser: variable('MAX_JOBS_PER_USER', count, {
    default: '3',
    description: 'How many jobs of one user run at the same time, on all workers together.',
  }),
  claimIdleMs: variable('CLAIM_IDLE_MS', claimIdleMsShape, {
    default: '300000',
    description: 'After this time without a sign of life a worker counts as dead, and others take its jobs.',
  }),
  tempDir: variable('TEMP_DIR', absolutePath, {
    default: '/tmp/repobox',
    description: 'Holds the checkout of each running job, named by its id.',
  }),
  cleanUp: variable('CLEANUP_AFTER_JOB', flag, {
    default: 'true',
    description: 'Remove the checkout of a job at its end.',
  }),
  changeRequests: variable('CREATE_CHANGE_REQUEST', flag, {
    default: 'false',
    description: 'Open a pull request on GitHub, or a merge request on GitLab, for the branch of a job.',
  }),
} as const;

/** The order of these tables is the order of the error messages. */
const READ = {
  jobs: JOBS,
  own: {
    encryptionKey: KEYS.encryptionKey,
    maxAttempts: LIMITS.retryLimit,
    drainTimeoutMs: LIMITS.drainTimeoutMs,
    logLimitBytes: LIMITS.logLimitBytes,
    githubApiUrl: GIT.githubApiUrl,
    /** The folder of mirrors. Null means one below the system's folder for temporary files. */
    stateDir: FOLDERS.dataDir,
    ...LOG,
  },
  remotes: REMOTES,
  executor: EXECUTOR,
} as const;

/** The configuration of a worker that runs jobs of `jobs:stream`. */
export type JobsConfig = ReturnType<typeof readJobsConfig>;

/** `table` holds every variable, and says which are secret. */
export function readJobsConfig(environment: Environment, table: Table) {
  const { jobs, own, remotes, executor } = parse(READ, environment, neverForTasks(table));
  if (own.encryptionKey === null) throw new ConfigError(problemWith(KEYS.encryptionKey));
  const { agentEnv, ...others } = jobs;
  return Object.freeze({
    ...others,
    ...own,
    remotes,
    redisUrl: jobs.redisUrl ?? 'redis://localhost:6379',
    /** The variables that the agent gets by AGENT_ENV. */
    agentEnvironment: pick(given(environment), agentEnv),
    // The value is not trimmed, because the 32 characters may begin or end with a blank.
    encryptionKey: environment.ENCRYPTION_KEY ?? '',
    executor: executorConfig(executor),
    plumbing: plumbingOf(environment),
    secrets: secretsConfig(table, environment),
  });
}
