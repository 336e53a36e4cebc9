/** Lets every `init` use one folder of provider plugins, where the tools themselves would get in each other's way. */

import { constants } from 'node:fs';
import { access, glob, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { describeError, RunnerError } from '../../../errors.ts';
import type { Executor, StepCommand, StepHooks, StepResult } from '../../../executor/executor.ts';
import { createFolderLock } from '../../../git/folder-lock.ts';

export interface PluginCacheOptions {
  executor: Executor;
  /** Made when it is missing. `<directory>.lock` and `<directory>.filling` stand beside it. */
  directory: string;
  /** How long to wait for another process's init. Default 10 min. */
  lockWaitMs?: number;
  /** After how long a killed process's lock is free. Default 10 s. */
  lockStaleMs?: number;
}

/** The step was begun with the cache, which is not for this run: begin it again without. */
const REFUSED = Symbol('refused');

/**
 * An executor for `init` alone: the tool finds and leaves providers in the shared folder, one init at a time. What is
 * in the folder is never written again, as it may be running: that fails as "text file busy" up to Terraform 1.11, and
 * is what the tools do for providers that the repository's lock file does not know in the form they have here. So they
 * are told to take what is there (the lock file of a checkout is nobody's to keep); where its checksums do not allow
 * that, and where the folder cannot be used, init runs without it and the log says so.
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
    let begun = false;
    try {
      await mkdir(directory, { recursive: true, mode: 0o755 });
      await access(directory, constants.R_OK | constants.W_OK | constants.X_OK);
      const result = await lock.hold(command.signal, async (held) => {
        await removeTorn(directory);
        begun = true;
        return fill(directory, () => runCached(executor, directory, { ...command, signal: held }, hooks));
      });
      const lost = result !== REFUSED && result.kind === 'cancelled' && !command.signal.aborted;
      if (result !== REFUSED && !lost) return result;
      const why = lost ? 'was taken by another process' : 'does not match the lock file of the repository';
      await hooks.onLines('stderr', [`The shared provider cache ${why}; going on without it.`]);
    } catch (error) {
      if (command.signal.aborted) return { kind: 'cancelled' };
      if (begun) throw error;
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
    // Not in the CLI configuration: there a `$` in the path would be expanded.
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
 * Tools unpack in place, so one that was ended may leave half a provider, which every later init would take. What is
 * new is kept only when init succeeds; the list of what was there before lies on the disk meanwhile.
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
    else await removeTorn(directory);
  }
}

/** Under the lock: takes away what an init that did not succeed has left. */
async function removeTorn(directory: string): Promise<void> {
  const before = await readFile(`${directory}.filling`, 'utf8').catch(() => null);
  if (before === null) return;
  const known = new Set(packageListOf(before));
  for (const found of await packagesIn(directory)) {
    if (!known.has(found)) await rm(path.join(directory, found), { recursive: true, force: true });
  }
  await rm(`${directory}.filling`, { force: true });
}

/** A list that is itself torn knows nothing: then everything is fetched anew. */
function packageListOf(text: string): string[] {
  try {
    return z.array(z.string()).parse(JSON.parse(text));
  } catch {
    return [];
  }
}

/** host/namespace/type/version/system */
async function packagesIn(directory: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of glob('*/*/*/*/{*,.*}', { cwd: directory })) found.push(entry);
  return found;
}
