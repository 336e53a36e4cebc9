/** Folders that steps run in: ours alone, or open to another local user who runs the steps. */

import { chmod, lstat, mkdir, readdir, rm, rmdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { RunnerError } from '../errors.ts';
import type { Executor } from '../executor/executor.ts';

/*
 * The operator allows it by making DEPLOY_DIR or TEMP_DIR set-group-id (2750) for a group that both users are in. Below:
 *
 *   <run>/           2750  ours: the other user comes in, and cannot change what is there
 *   <run>/tfplan     0640  ours, to be read
 *   <run>/checkout/  2770  a work folder: the other user does there as it likes
 *
 * So each name down to a work folder, its own included, is ours, and none below it may be believed: we make no file and
 * change no mode there once it is open, read through `foreign-files.ts` alone, and leave the removing to that user.
 */
const OPEN_MODE = 0o2750;
const WORK_MODE = 0o2770;
const IS_OPEN = 0o2010;
const IS_WORK = 0o0020;

/**
 * Runs a short program as the user who runs the steps, until `signal` ends it. Resolves to what went wrong, or null.
 * Never throws.
 */
export type StepUser = (argv: readonly [string, ...string[]], signal?: AbortSignal) => Promise<string | null>;

const STEP_USER_TIMEOUT_MS = 120_000;

export function createStepUser(
  executor: Pick<Executor, 'capture'>,
  env: Readonly<Record<string, string>>,
): StepUser {
  return async (argv, signal = new AbortController().signal) => {
    const command = { argv, cwd: '/', env: { ...env, LC_ALL: 'C' }, timeoutMs: STEP_USER_TIMEOUT_MS, signal };
    const result = await executor.capture(command);
    if (result.kind === 'failed') return result.problem;
    if (result.exitCode === 0) return null;
    return result.stderr.trim().split('\n').at(-1) || `${argv[0]} ended with exit code ${result.exitCode}`;
  };
}

/** Set-group-id, and its group may enter. */
export async function isOpen(folder: string): Promise<boolean> {
  const found = await stat(folder).catch(() => null);
  return found !== null && (found.mode & IS_OPEN) === IS_OPEN;
}

/** A folder for us alone, to be opened when it is filled. Throws RunnerError when it could not be opened then. */
export async function makeClosedFolder(folder: string): Promise<void> {
  await mkdir(folder, { mode: 0o700 });
  const parent = path.dirname(folder);
  if (!(await isOpen(parent))) return;
  // The kernel takes the bit away from who is not in the group.
  await chmod(folder, 0o2700);
  if (((await lstat(folder)).mode & 0o2000) !== 0) return;
  throw new RunnerError(`This user is not in the group of ${parent}.`, {
    nextAction: 'Add it to that group and start anew, or give the folder another group.',
  });
}

/** Lets the group in; what stands in it stays as it is. */
export async function openFolder(folder: string): Promise<void> {
  await chmod(folder, OPEN_MODE);
}

/** Makes a closed folder and all in it a work folder, itself last: until then names in it can be believed. */
export async function openWorkFolder(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true });
  await Promise.all(
    entries.map(async (entry) => {
      const file = path.join(folder, entry.name);
      if (entry.isDirectory()) return openWorkFolder(file);
      if (!entry.isFile()) return;
      const { mode } = await lstat(file);
      await chmod(file, (mode & 0o777) | ((mode & 0o700) >> 3));
    }),
  );
  await chmod(folder, WORK_MODE);
}

/** A folder in one of ours; a work folder when that one is open. May be there already. */
export async function makeWorkFolder(parent: string, name: string): Promise<string> {
  const folder = path.join(parent, name);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (await isOpen(parent)) await chmod(folder, WORK_MODE);
  return folder;
}

/** A folder of ours in one of ours, as open as that one. */
export async function makeInnerFolder(parent: string, name: string): Promise<string> {
  const folder = path.join(parent, name);
  await mkdir(folder, { mode: 0o700 });
  if (await isOpen(parent)) await openFolder(folder);
  return folder;
}

/** Of a file of ours, when the folder of ours that it lies in is open. */
export async function letGroupRead(file: string): Promise<void> {
  if (await isOpen(path.dirname(file))) await chmod(file, 0o640);
}

/** By this git believes a checkout that belongs to somebody else; see safe.directory in git-config(1). */
export function gitTrust(checkout: string): Record<string, string> {
  return { GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: 'safe.directory', GIT_CONFIG_VALUE_0: checkout };
}

/**
 * Removes a folder of ours with all in it, or does nothing when there is none. What another user has in it is removed
 * by them: where they may change links meanwhile, we would follow these. Throws when something stays.
 */
export async function removeFolder(folder: string, user: StepUser | null): Promise<void> {
  const workFolders = await workFoldersIn(folder);
  if (workFolders.length > 0 && user !== null) {
    const problem = await user(['rm', '-rf', '--', ...workFolders]);
    // Always one, as the folders themselves are ours; another one when some of theirs cannot be written.
    if (problem !== null && (await haveContent(workFolders))) {
      await user(['chmod', '-R', 'u+rwX', '--', ...workFolders]);
      await user(['rm', '-rf', '--', ...workFolders]);
    }
  }
  for (const workFolder of workFolders) {
    await rmdir(workFolder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return;
      throw new RunnerError(`${workFolder} could not be emptied by the user of EXECUTOR_COMMAND.`, {
        nextAction: 'Remove it by hand, or run EXECUTOR_COMMAND as the user that its files belong to.',
        cause: error,
      });
    });
  }
  await rm(folder, { recursive: true, force: true });
}

/** Never looks into one: only what is ours is walked. */
async function workFoldersIn(folder: string): Promise<string[]> {
  const found = await lstat(folder).catch(() => null);
  if (!found?.isDirectory() || (found.mode & IS_OPEN) !== IS_OPEN) return [];
  if ((found.mode & IS_WORK) !== 0) return [folder];
  const entries = await readdir(folder, { withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory());
  return (await Promise.all(folders.map(({ name }) => workFoldersIn(path.join(folder, name))))).flat();
}

async function haveContent(folders: readonly string[]): Promise<boolean> {
  const contents = await Promise.all(folders.map((folder) => readdir(folder).catch(() => [])));
  return contents.some(({ length }) => length > 0);
}
