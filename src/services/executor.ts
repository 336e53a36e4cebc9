/** Builds what steps run through: children of the server, or the isolated executor. */

import path from 'node:path';
import type { Config } from '../config.ts';
import { ConfigError } from '../errors.ts';
import type { Executor } from '../executor/executor.ts';
import { createIsolatedExecutor } from '../executor/isolated.ts';
import { createLocalExecutor } from '../executor/local.ts';
import { findPrlimit, hasLimits } from '../process/limits.ts';

type ExecutorParts = Pick<Config, 'executor' | 'plumbing' | 'dataDir' | 'logLimitBytes'>;

/** `secrets` are masked in all output. */
export function buildExecutor(config: ExecutorParts, secrets: readonly string[]): Executor {
  const { command, limits } = config.executor;
  const options = { secrets, maxOutputBytes: config.logLimitBytes, limits };
  if (command === null) return createLocalExecutor(options);
  const [program, ...args] = command;
  return createIsolatedExecutor({
    ...options,
    command: program === undefined ? ownProgram() : [program, ...args],
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

/** Throws ConfigError when limits are asked for that cannot be kept here. Those of another host are its own matter. */
export async function requireLimits({
  executor: { command, limits },
}: Pick<Config, 'executor'>): Promise<void> {
  const isElsewhere = command !== null && command.length > 0;
  if (isElsewhere || !hasLimits(limits) || (await findPrlimit()) !== null) return;
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
