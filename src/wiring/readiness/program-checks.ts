/** Checks whether the programs that the work needs are there. It looks them up, and never starts a task. */

import { randomUUID } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { access, constants, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Config } from '../../config.ts';
import type { Executor } from '../../executor/executor.ts';
import { makeFolder } from '../../make-folder.ts';
import { findProgram, isProgram } from '../../process/find-program.ts';
import { SECOND } from '../../units.ts';
import { isElsewhere, stepPlumbing } from '../executor.ts';

/** The limit is long, as the executor may go through ssh or a container. */
const TIMEOUT_MS = 20 * SECOND;
const REMEDY = 'Install invoke or set INVOKE_COMMAND.';
/** The executor reads this file. The same folder shows the same content. */
const MARK = '.iac-runner-mark';

type Settings = Pick<Config, 'executor' | 'plumbing' | 'invokeCommand' | 'dataDir' | 'workspaceDir'>;

export interface ProgramChecksOptions {
  executor: Pick<Executor, 'capture'>;
  /** Where tasks are started. */
  checkout: string;
  signal: AbortSignal;
}

/** Looks for the program of INVOKE_COMMAND where it will run. The note says what cannot be known yet. */
export async function checkTaskRunner(
  config: Settings,
  options: ProgramChecksOptions,
): Promise<{ note: string } | null> {
  const [program] = config.invokeCommand;
  // A relative path is looked up from where tasks are started.
  const isRelative = program.includes('/') && !path.isAbsolute(program);
  if (isRelative && !existsSync(options.checkout)) {
    return { note: `${program} is looked up in the checkout, and there is none before the first sync.` };
  }
  if (isElsewhere(config.executor.command)) {
    const script = 'cd "$2" && command -v -- "$1" > /dev/null';
    const cwd = isRelative ? options.checkout : '/';
    const problem = await askExecutor(config, options, ['sh', '-c', script, 'sh', program, cwd]);
    if (problem !== null) {
      throw new Error(`${program} was not found there${problem}. ${REMEDY} Or look at EXECUTOR_COMMAND.`);
    }
    return null;
  }
  const isThere = program.includes('/')
    ? await isProgram(path.resolve(options.checkout, program))
    : (await findProgram(config.plumbing.PATH ?? '', program)) !== null;
  if (!isThere) throw new Error(`${program} was not found. ${REMEDY}`);
  return null;
}

export async function checkWorkspace({ workspaceDir }: Pick<Config, 'workspaceDir'>): Promise<void> {
  const found = statSync(workspaceDir, { throwIfNoEntry: false });
  if (found && !found.isDirectory()) {
    throw new Error(`WORKSPACE_DIR ${workspaceDir} is a file, not a folder. Set it to a folder.`);
  }
  makeFolder(workspaceDir);
  await access(workspaceDir, constants.W_OK | constants.X_OK);
}

/** Checks that the executor sees the files of WORKSPACE_DIR, and not a folder of its own by that name. */
export async function checkExecutor(config: Settings, options: ProgramChecksOptions): Promise<void> {
  const file = path.join(config.workspaceDir, MARK);
  const mark = randomUUID();
  await writeFile(file, mark, { mode: 0o644 });
  const problem = await askExecutor(config, options, ['cat', '--', file], mark);
  if (problem === null) return;
  throw new Error(
    `The executor does not see WORKSPACE_DIR ${config.workspaceDir}${problem}. Give EXECUTOR_COMMAND that folder at the same path.`,
  );
}

/** Returns null if the program succeeded, with `expected` on stdout; else the end of a sentence about the problem. */
async function askExecutor(
  config: Settings,
  { executor, signal }: ProgramChecksOptions,
  argv: readonly [string, ...string[]],
  expected?: string,
): Promise<string | null> {
  const result = await executor.capture({
    argv,
    cwd: '/',
    env: { ...stepPlumbing(config), IAC_RUNNER_DATA: config.dataDir },
    timeoutMs: TIMEOUT_MS,
    signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
  });
  if (result.kind === 'failed') return `: ${result.problem.replace(/\.$/, '')}`;
  if (result.exitCode !== 0) {
    return `: ${(result.stderr.trim().split('\n').at(-1) || argv[0]).replace(/\.$/, '')}`;
  }
  return expected === undefined || result.stdout.unmasked === expected ? null : ', but another folder';
}
