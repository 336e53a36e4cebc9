/** Starts the built program as a child process, in a folder that is removed with it. */

import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { killProcessesMentioning } from '../../e2e/support/processes.ts';
import { CLI } from '../../e2e/support/program.ts';
import { type Runner, startRunner } from '../../e2e/support/runner.ts';
import type { RunnerOptions } from '../../e2e/support/runner-environment.ts';
import { makeTemporaryFolder, removeFolder } from '../../e2e/support/temporary-folder.ts';

/** The argv of the program under test, as the image has it. */
export const BUILT_PROGRAM = [process.execPath, '--max-semi-space-size=1', CLI, 'serve'] as const;

/** Starts the built server without debug lines, which production does not have either. */
export function startBuilt(options: RunnerOptions): Promise<Runner> {
  const environment = { LOG_LEVEL: 'info', ...options.environment };
  return startRunner({ ...options, environment, program: BUILT_PROGRAM });
}

/** Gives a fresh folder to `use`; afterwards ends every process that was started with it and removes it. */
export async function withFolder<T>(name: string, use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await makeTemporaryFolder(`bench-${name}`);
  try {
    return await use(folder);
  } finally {
    await killProcessesMentioning(folder);
    await removeFolder(folder);
  }
}

/** Writes a shell script in the place of invoke, and returns its argv. It is called with the task's name. */
export async function writeTask(folder: string, name: string, script: string): Promise<[string]> {
  const path = join(folder, name);
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return [path];
}
