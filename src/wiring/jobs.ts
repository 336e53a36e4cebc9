/** Builds a worker for the jobs of `jobs:stream`: Redis, git, the agent, and the consumer. */

import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import type { Logger } from 'pino';
import type { JobsConfig } from '../config.ts';
import { ConfigError, MustEndError } from '../errors.ts';
import type { Executor } from '../executor/executor.ts';
import { createChangeRequests } from '../github/change-requests.ts';
import type { StepUser } from '../isolation/open-folder.ts';
import { stepFolderProblem } from '../isolation/try-step-folder.ts';
import { type ChangeOptions, change } from '../jobs/change/change.ts';
import { decryptToken, readEncryptionKey } from '../jobs/change/decrypt-token.ts';
import { createJobFolders, type JobFolders } from '../jobs/change/job-folders.ts';
import { type JobStore, openJobStore } from '../jobs/store/job-store.ts';
import { consumeJobs } from '../jobs/worker/consume-jobs.ts';
import { retry } from '../jobs/worker/retry.ts';
import { makeOwnFolder } from '../make-folder.ts';
import { findProgram, isProgram } from '../process/find-program.ts';
import type { Watchdog } from '../process/watchdog/watchdog.ts';
import { splitFlags } from '../runs/deployments/tool-flags.ts';
import { MINUTE } from '../units.ts';
import { VERSION } from '../version.ts';
import {
  buildExecutor,
  buildStepUser,
  buildWatchdog,
  isElsewhere,
  requireLimits,
  stepPlumbing,
  warnOfMissingWall,
} from './executor.ts';
import type { Lifetime } from './lifetime.ts';
import { buildRepositories } from './repositories/git.ts';
import { secretsOf } from './sync.ts';

const SWEEP_MS = 10 * MINUTE;
const PROVIDER_PATIENCE_MS = MINUTE;

/** A drained job may take this time to end, beyond the time for its last writes. */
const LAST_STEPS_MS = MINUTE;

/**
 * Throws ConfigError for a configuration that cannot be used, StoreUnavailableError without Redis. Resolves to the
 * function that cuts a drain short.
 */
export async function startJobWorker(config: JobsConfig, log: Logger, life: Lifetime): Promise<() => void> {
  const key = requireKey(config);
  const agent = await agentOf(config);
  await requireLimits(config);
  const stateDir = prepareFolders(config);
  const stepUser = agent && buildStepUser(config, executorOf(config, stateDir, null));
  if (stepUser) await requireStepFolder(config, stepUser, life.ending);
  const runnerId = config.runnerId ?? `${hostname()}:${process.pid}`;
  const store = await openJobStore({
    url: config.redisUrl,
    runnerId,
    instance: randomUUID(),
    jobsPerUser: config.perUser,
    claimIdleMs: config.claimIdleMs,
    maxAttempts: config.maxAttempts,
  });
  life.onEnd('jobs: store', () => store.close());
  const folders = createJobFolders({
    checkouts: config.tempDir,
    scratch: path.join(stateDir, 'scratch'),
    cleanUp: config.cleanUp,
    stepUser,
  });
  const watchdog = buildWatchdog({ leaseMs: leaseOf(config) }, log);
  life.onEnd('jobs: watchdog', watchdog.close);
  const options = await changeOptions(config, { agent, key, stateDir, store, folders, watchdog, log });
  await store.ensureGroup().catch((err: unknown) => log.warn({ err }, 'jobs:stream has no group yet'));
  const consumer = consumeJobs({
    store,
    work: (job, context) => change(options, job, context),
    concurrency: config.concurrency,
    claimIdleMs: config.claimIdleMs,
    timeoutMs: config.timeoutMs,
    drainTimeoutMs: config.drainTimeoutMs,
    now: Date.now,
    log,
  });
  life.onEnd('jobs: worker', () => consumer.drain(), config.drainTimeoutMs + LAST_STEPS_MS);
  life.onEnd('jobs: sweeping', startSweeping(folders, store, log));
  log.info({ runner: runnerId, version: VERSION, concurrency: config.concurrency }, 'waiting for jobs');
  for (const warning of store.warnings) log.warn(warning);
  warnOfSettings(config, agent, log);
  return () => consumer.hurry();
}

function prepareFolders(config: JobsConfig): string {
  const stateDir = config.stateDir === null ? ownStateDir(config) : path.join(config.stateDir, 'jobs');
  makeOwnFolder('TEMP_DIR', config.tempDir);
  makeOwnFolder(config.stateDir === null ? 'TMPDIR' : 'DATA_DIR', stateDir);
  return stateDir;
}

function warnOfSettings(config: JobsConfig, agent: ChangeOptions['agent'], log: Logger): void {
  warnOfMissingWall(config, log);
  if (agent === null) log.warn('AGENT_COMMAND is not set: jobs end without changing anything');
  else if (!isElsewhere(config.executor.command)) {
    log.warn(
      'the agent runs as the user of this worker and can read its environment, ENCRYPTION_KEY included; EXECUTOR_COMMAND runs it as another',
    );
  }
}

/** Another runner takes over a job that was idle for this time. Shorter times are for tests. */
function leaseOf({ claimIdleMs }: JobsConfig): number {
  return Math.max(claimIdleMs, MINUTE);
}

function executorOf(config: JobsConfig, stateDir: string, watchdog: Watchdog | null): Executor {
  return buildExecutor(
    { ...config, dataDir: stateDir, leaseMs: leaseOf(config) },
    secretsOf(config),
    watchdog,
  );
}

/** Without this check, each job would be taken and fail. Waits for an executor that says nothing until `ending`. */
async function requireStepFolder(
  { tempDir }: JobsConfig,
  stepUser: StepUser,
  ending: AbortSignal,
): Promise<void> {
  ending.throwIfAborted();
  const stop = new AbortController();
  ending.addEventListener('abort', () => stop.abort(new MustEndError('The worker stops.', 0)), {
    once: true,
  });
  const problem = await stepFolderProblem('TEMP_DIR', tempDir, stepUser, stop.signal);
  ending.throwIfAborted();
  if (problem !== null) throw new ConfigError(problem, { nextAction: 'See docs/executor.md.' });
}

function startSweeping(folders: JobFolders, store: JobStore, log: Logger): () => void {
  const sweep = () => {
    folders.sweep(store.held).catch((err: unknown) => log.warn({ err }, 'old folders could not be cleared'));
  };
  const timer = setInterval(sweep, SWEEP_MS);
  sweep();
  return () => clearInterval(timer);
}

interface Parts {
  agent: ChangeOptions['agent'];
  key: Buffer;
  stateDir: string;
  store: JobStore;
  folders: JobFolders;
  watchdog: Watchdog;
  log: Logger;
}

async function changeOptions(
  config: JobsConfig,
  { agent, key, stateDir, store, folders, watchdog, log }: Parts,
): Promise<ChangeOptions> {
  const tempDir = path.join(stateDir, 'tmp');
  await mkdir(tempDir, { recursive: true, mode: 0o700 });
  const { hosts } = config.remotes;
  const protocols = config.remotes.protocols.filter((name) => name === 'https' || name === 'http');
  const repositories = buildRepositories(
    { plumbing: config.plumbing, dataDir: stateDir },
    { directory: path.join(stateDir, 'repositories'), rules: { protocols, hosts }, tempDir },
    log,
  );
  return {
    repositories,
    rules: { protocols, hosts },
    executor: executorOf(config, stateDir, watchdog),
    agent,
    // A job must not fail because Redis is away for a moment.
    provider: (userId, providerId) =>
      retry(() => store.provider(userId, providerId), AbortSignal.timeout(PROVIDER_PATIENCE_MS)),
    decrypt: (sealed) => decryptToken(key, sealed),
    changeRequests: config.changeRequests
      ? createChangeRequests({
          rules: { protocols, hosts },
          githubApiUrl: config.githubApiUrl,
          version: VERSION,
        })
      : null,
    folders,
    timeoutMs: config.timeoutMs,
  };
}

function requireKey({ encryptionKey }: JobsConfig): Buffer {
  const key = readEncryptionKey(encryptionKey);
  if (key !== null) return key;
  throw new ConfigError(
    'ENCRYPTION_KEY is wrong: expected a key of 32 bytes, as 64 hexadecimal digits, 44 characters of base64, or 32 characters.',
    { nextAction: 'Set it to the key of the application that stores the tokens of git providers.' },
  );
}

/** Throws ConfigError for a command that would fail with each job. A program on another host is not looked for. */
async function agentOf(config: JobsConfig): Promise<ChangeOptions['agent']> {
  if (config.agentCommand === null) return null;
  const split = splitFlags(config.agentCommand);
  if (!split.ok) throw new ConfigError(`AGENT_COMMAND ${split.problem}.`, { nextAction: 'Correct it.' });
  const [program, ...args] = split.flags;
  if (program === undefined) return null;
  if (!isElsewhere(config.executor.command) && (await isMissing(program, config))) {
    throw new ConfigError(`The program of AGENT_COMMAND, ${program}, was not found.`, {
      nextAction: 'Install it, or correct AGENT_COMMAND.',
    });
  }
  return { argv: [program, ...args], env: { ...stepPlumbing(config), ...config.agentEnvironment } };
}

/** A relative path with a slash is not missing: it leads into the repository of each job. */
async function isMissing(program: string, { plumbing }: JobsConfig): Promise<boolean> {
  if (path.isAbsolute(program)) return !(await isProgram(program));
  return !program.includes(path.sep) && (await findProgram(plumbing.PATH ?? '', program)) === null;
}

/** Returns a folder with the user's id in its name, because everybody shares the folder for temporary files. */
function ownStateDir({ plumbing }: JobsConfig): string {
  return path.join(plumbing.TMPDIR ?? '/tmp', `iac-runner-jobs-${process.getuid?.() ?? 'user'}`);
}
