/** Builds what steps run through: children of the server, or the isolated executor. */

import path from 'node:path';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { ConfigError } from '../errors.ts';
import type { Executor } from '../executor/executor.ts';
import { createIsolatedExecutor } from '../executor/isolated.ts';
import { createLocalExecutor } from '../executor/local.ts';
import { createStepUser, type StepUser } from '../isolation/open-folder.ts';
import { findPrlimit, hasLimits } from '../process/limits.ts';
import { startWatchdog, type Watchdog } from '../process/watchdog/watchdog.ts';

/** Of a lease: steps are ended after so much silence, and the rest is for their end, before anybody else begins. */
const SILENT_PART = 0.5;
/** From TERM to KILL, of a lease. */
const GRACE_PART = 0.1;

/** Ends what runs here as our child when we do not: others would begin beside it. Stands ready until released. */
export function buildWatchdog({ leaseMs }: Pick<Config, 'leaseMs'>, log: Logger): Watchdog {
  return startWatchdog({
    silenceMs: leaseMs * SILENT_PART,
    graceMs: leaseMs * GRACE_PART,
    onReplaced: () => log.warn('the watchdog of running steps was ended; another takes its place'),
  });
}

type ExecutorParts = Pick<Config, 'executor' | 'plumbing' | 'dataDir' | 'logLimitBytes' | 'leaseMs'>;

/** `secrets` are masked in all output. The watchdog is for what runs as our own child. */
export function buildExecutor(
  config: ExecutorParts,
  secrets: readonly string[],
  watchdog: Watchdog | null = null,
): Executor {
  const { command, limits } = config.executor;
  const options = { secrets, maxOutputBytes: config.logLimitBytes, limits };
  if (command === null) return createLocalExecutor({ ...options, watchdog });
  const [program, ...args] = command;
  return createIsolatedExecutor({
    ...options,
    command: program === undefined ? ownProgram() : [program, ...args],
    silenceMs: config.leaseMs * SILENT_PART,
    environment: {
      ...(program === undefined ? stepPlumbing(config) : leadingElsewhere(config)),
      // As with git: what outlives a killed server is found by the next.
      IAC_RUNNER_DATA: config.dataDir,
    },
  });
}

/** For ssh and the like, keys included; but no folder of ours, which another user may not be able to use. */
function leadingElsewhere({ plumbing }: Pick<Config, 'plumbing'>): Readonly<Record<string, string>> {
  const { TMPDIR: _ours, ...rest } = plumbing;
  return rest;
}

/** What steps get of the server's environment: without the way to keys for git when they are to be kept apart. */
export function stepPlumbing({
  executor,
  plumbing,
}: Pick<Config, 'executor' | 'plumbing'>): Readonly<Record<string, string>> {
  if (executor.command === null) return plumbing;
  const { SSH_AUTH_SOCK: _agent, ...rest } = plumbing;
  return rest;
}

/** Who runs the steps, when that may be another user than we are; else null. */
export function buildStepUser(
  config: Pick<Config, 'executor' | 'plumbing'>,
  executor: Pick<Executor, 'capture'>,
): StepUser | null {
  return isElsewhere(config.executor.command) ? createStepUser(executor, stepPlumbing(config)) : null;
}

/** By the user of EXECUTOR_COMMAND, perhaps. */
export function isElsewhere(command: Config['executor']['command']): boolean {
  return command !== null && command.length > 0;
}

/** The name `isolated` promises more than a process of its own keeps. */
export function warnOfMissingWall({ executor: { command } }: Pick<Config, 'executor'>, log: Logger): void {
  if (command === null || isElsewhere(command)) return;
  log.warn(
    'EXECUTOR=isolated without EXECUTOR_COMMAND isolates no user: steps run as the user of this program and can read its environment, its files and its secrets',
  );
}

/** Throws ConfigError when limits are asked for that cannot be kept here. Those of another host are its own matter. */
export async function requireLimits({
  executor: { command, limits },
}: Pick<Config, 'executor'>): Promise<void> {
  if (isElsewhere(command) || !hasLimits(limits) || (await findPrlimit()) !== null) return;
  throw new ConfigError(
    'STEP_CPU_SECONDS, STEP_MEMORY_MB and STEP_OPEN_FILES need prlimit, which is not here.',
    {
      nextAction: 'Install util-linux, or unset them.',
    },
  );
}

/** `iac-runner exec` of this very program, in a checkout and when it was built. */
function ownProgram(): [string, ...string[]] {
  const cli = path.join(import.meta.dirname, `../cli${path.extname(import.meta.filename)}`);
  return [process.execPath, cli, 'exec'];
}
