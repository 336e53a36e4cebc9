/** Builds what steps run through: children of the server, or the isolated executor. */

import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { ConfigError } from '../errors.ts';
import type { Executor } from '../executor/executor.ts';
import { createIsolatedExecutor } from '../executor/isolated.ts';
import { createLocalExecutor } from '../executor/local.ts';
import { createStepUser, type StepUser } from '../isolation/open-folder.ts';
import { findPrlimit, hasLimits } from '../process/limits.ts';
import { startWatchdog, type Watchdog } from '../process/watchdog/watchdog.ts';
import { moduleFile } from '../program-files.ts';

/** Steps are ended after a silence of this part of a lease. The rest is for their end, before another worker starts. */
const SILENT_PART = 0.5;
/** The time from TERM to KILL, as a part of a lease. */
const GRACE_PART = 0.1;

/** Starts a watchdog that ends our children if this process cannot: else another worker would start beside them. */
export function buildWatchdog({ leaseMs }: Pick<Config, 'leaseMs'>, log: Logger): Watchdog {
  return startWatchdog({
    silenceMs: leaseMs * SILENT_PART,
    graceMs: leaseMs * GRACE_PART,
    onReplaced: () => log.warn('the watchdog of running steps was ended; another takes its place'),
  });
}

type ExecutorParts = Pick<Config, 'executor' | 'plumbing' | 'dataDir' | 'logLimitBytes' | 'leaseMs'>;

/** `secrets` are masked in all output. The watchdog is for steps that run as our own children. */
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
      // With this variable, the next server finds a process that outlives a killed one.
      IAC_RUNNER_DATA: config.dataDir,
    },
  });
}

/**
 * Returns the variables for ssh and similar programs, which need keys. TMPDIR is left out, because another user may not
 * be able to use it.
 */
function leadingElsewhere({ plumbing }: Pick<Config, 'plumbing'>): Readonly<Record<string, string>> {
  const { TMPDIR: _own, ...rest } = plumbing;
  return rest;
}

/** Returns the part of the server's environment that steps get. Isolated steps get no variable that leads to keys for git. */
export function stepPlumbing({
  executor,
  plumbing,
}: Pick<Config, 'executor' | 'plumbing'>): Readonly<Record<string, string>> {
  if (executor.command === null) return plumbing;
  const { SSH_AUTH_SOCK: _agent, ...rest } = plumbing;
  return rest;
}

/** Returns the user that runs the steps if that may be another user than this process; else null. */
export function buildStepUser(
  config: Pick<Config, 'executor' | 'plumbing'>,
  executor: Pick<Executor, 'capture'>,
): StepUser | null {
  return isElsewhere(config.executor.command) ? createStepUser(executor, stepPlumbing(config)) : null;
}

/** True if EXECUTOR_COMMAND runs the steps, perhaps as another user or on another host. */
export function isElsewhere(command: Config['executor']['command']): boolean {
  return command !== null && command.length > 0;
}

/** A process of its own gives less protection than the name `isolated` promises. */
export function warnOfMissingWall({ executor: { command } }: Pick<Config, 'executor'>, log: Logger): void {
  if (command === null || isElsewhere(command)) return;
  log.warn(
    'EXECUTOR=isolated without EXECUTOR_COMMAND isolates no user: steps run as the user of this program and can read its environment, its files and its secrets',
  );
}

/** Throws ConfigError if the configured limits cannot be kept here. Another host has to keep its own limits. */
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

/** Returns the command `iac-runner exec` of this very program, both from its source and after a build. */
function ownProgram(): [string, ...string[]] {
  return [process.execPath, moduleFile('cli'), 'exec'];
}
