/** Lets every `init` use one folder of provider plugins. The tools alone would disturb each other there. */

import { constants } from 'node:fs';
import { access, glob, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { describeError, RunnerError } from '../../../errors.ts';
import type { Executor, StepCommand, StepHooks, StepResult } from '../../../executor/executor.ts';
import { createFolderLock } from '../../../git/folder-lock.ts';

interface PluginCacheOptions {
  executor: Executor;
  /** Created if it is missing. `<directory>.lock` and `<directory>.filling` lie beside it. */
  directory: string;
  /** How long to wait for the init of another process. Default 10 min. */
  lockWaitMs?: number;
  /** After this time the lock of a killed process is free. Default 10 s. */
  lockStaleMs?: number;
}

/** The result of an init that could not use the cache, and has to run again without it. */
const REFUSED = Symbol('refused');

/**
 * An executor for `init` only: the tool reads and adds providers in the shared folder, one init at a time. A provider
 * in the folder must not be overwritten, because it may be running: up to Terraform 1.11 that fails as "text file
 * busy". The tools would overwrite a provider whose checksum is not in the lock file of the repository. A variable
 * tells them to use the provider in the folder instead. The lock file in the checkout may then be wrong, which does not
 * matter, because nobody keeps it. If the checksums do not allow that, or if the folder cannot be used, init runs
 * without the folder, and the log says so.
 */
export function createInitExecutor(options: PluginCacheOptions): Executor {
  const { executor, directory } = options;
  const lock = createFolderLock({
    directory,
    waitMs: options.lockWaitMs ?? 600_000,
    ...(options.lockStaleMs === undefined ? {} : { staleMs: options.lockStaleMs }),
    fail: (message, details) => new RunnerError(message, details),
  });

  async function run(command: StepCommand, hooks: StepHooks): Promise<StepResult> {
    let started = false;
    try {
      await mkdir(directory, { recursive: true, mode: 0o755 });
      await access(directory, constants.R_OK | constants.W_OK | constants.X_OK);
      const result = await lock.hold(command.signal, async (held) => {
        await removeIncomplete(directory);
        started = true;
        return fill(directory, () => runCached(executor, directory, { ...command, signal: held }, hooks));
      });
      const lost = result !== REFUSED && result.kind === 'cancelled' && !command.signal.aborted;
      if (result !== REFUSED && !lost) return result;
      const why = lost ? 'was taken by another process' : 'does not match the lock file of the repository';
      await hooks.onLines('stderr', [`The shared provider cache ${why}; going on without it.`]);
    } catch (error) {
      if (command.signal.aborted) return { kind: 'cancelled' };
      if (started) throw error;
      await hooks.onLines('stderr', [
        `The shared provider cache cannot be used: ${describeError(error)} Going on without it.`,
      ]);
    }
    return executor.run(command, hooks);
  }

  return { run, capture: (command) => executor.capture(command) };
}

async function runCached(
  executor: Executor,
  directory: string,
  command: StepCommand,
  hooks: StepHooks,
): Promise<StepResult | typeof REFUSED> {
  let refused = false;
  const env = {
    ...command.env,
    // The path is not in the CLI configuration, because the tools would expand a `$` there.
    TF_PLUGIN_CACHE_DIR: directory,
    TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE: '1',
  };
  const result = await executor.run(
    { ...command, env },
    {
      onStart: (process) => hooks.onStart(process),
      onLines(stream, lines) {
        refused ||= lines.some((line) => line.includes('Failed to install provider from shared cache'));
        return hooks.onLines(stream, lines);
      },
    },
  );
  const failed = result.kind === 'exited' && result.exitCode !== 0;
  return failed && refused ? REFUSED : result;
}

/**
 * The tools unpack in place, so an init that is killed may leave half a provider, which every later init would use. So
 * new providers are kept only if init succeeds. A file lists the providers that were there before.
 */
async function fill(
  directory: string,
  init: () => Promise<StepResult | typeof REFUSED>,
): Promise<StepResult | typeof REFUSED> {
  await writeFile(`${directory}.filling`, JSON.stringify(await packagesIn(directory)), { mode: 0o600 });
  let result: StepResult | typeof REFUSED | null = null;
  try {
    result = await init();
    return result;
  } finally {
    const whole = result !== null && result !== REFUSED && result.kind === 'exited' && result.exitCode === 0;
    if (whole) await rm(`${directory}.filling`, { force: true });
    else await removeIncomplete(directory);
  }
}

/** Removes the providers that a failed init has left. Call it only while you hold the lock. */
async function removeIncomplete(directory: string): Promise<void> {
  const before = await readFile(`${directory}.filling`, 'utf8').catch(() => null);
  if (before === null) return;
  const known = new Set(packageListOf(before));
  for (const found of await packagesIn(directory)) {
    if (!known.has(found)) await rm(path.join(directory, found), { recursive: true, force: true });
  }
  await rm(`${directory}.filling`, { force: true });
}

/** If the list itself is incomplete it counts as empty, so every provider is fetched again. */
function packageListOf(text: string): string[] {
  try {
    return z.array(z.string()).parse(JSON.parse(text));
  } catch {
    return [];
  }
}

/** Returns paths of the form host/namespace/type/version/system. */
async function packagesIn(directory: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of glob('*/*/*/*/{*,.*}', { cwd: directory })) found.push(entry);
  return found;
}
