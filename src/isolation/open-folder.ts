/** Folders in which steps run: closed, or open to another local user who runs the steps. */

import { chmod, lstat, mkdir, readdir, rm, rmdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { RunnerError } from '../errors.ts';
import type { Executor } from '../executor/executor.ts';
import { MINUTE } from '../units.ts';

/*
 * The operator allows this by making DEPLOY_DIR or TEMP_DIR set-group-id (2750) for a group that both users are in. In
 * the following list, "we" means the user of this program:
 *
 *   <run>/           2750  belongs to us. The other user can enter it and cannot change it.
 *   <run>/tfplan     0640  belongs to us. The other user can read it.
 *   <run>/checkout/  2770  a work folder. The other user can do everything in it.
 *
 * So we can trust each path down to a work folder, and no path below it. When a work folder is open, we make no file and
 * change no mode in it, read it only through `foreign-files.ts`, and let the other user remove its content.
 */
const OPEN_MODE = 0o2750;
const WORK_MODE = 0o2770;
const IS_OPEN = 0o2010;
const IS_WORK = 0o0020;

/**
 * Runs a short program as the user who runs the steps, until `signal` ends it. Resolves to the problem, or to null. Never
 * throws.
 */
export type StepUser = (argv: readonly [string, ...string[]], signal?: AbortSignal) => Promise<string | null>;

const STEP_USER_TIMEOUT_MS = 2 * MINUTE;

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

/** True if the folder is set-group-id, and its group may enter. */
export async function isOpen(folder: string): Promise<boolean> {
  const found = await stat(folder).catch(() => null);
  return found !== null && (found.mode & IS_OPEN) === IS_OPEN;
}

/** Makes a folder that only this user can enter until it is opened. Throws RunnerError if it could not be opened later. */
export async function makeClosedFolder(folder: string): Promise<void> {
  await mkdir(folder, { mode: 0o700 });
  const parent = path.dirname(folder);
  if (!(await isOpen(parent))) return;
  // The kernel removes the bit if this user is not in the group.
  await chmod(folder, 0o2700);
  if (((await lstat(folder)).mode & 0o2000) !== 0) return;
  throw new RunnerError(`This user is not in the group of ${parent}.`, {
    nextAction: 'Add the user to that group and restart, or give the folder another group.',
  });
}

/** Lets the group enter. The modes of its content do not change. */
export async function openFolder(folder: string): Promise<void> {
  await chmod(folder, OPEN_MODE);
}

/**
 * Makes a closed folder and the folders in it work folders, and lets the group use their files. The topmost comes last, so
 * that paths can be trusted until then.
 */
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

/** Makes a folder, which may exist. It becomes a work folder if its parent is open. */
export async function makeWorkFolder(parent: string, name: string): Promise<string> {
  const folder = path.join(parent, name);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (await isOpen(parent)) await chmod(folder, WORK_MODE);
  return folder;
}

/** Makes a folder that is open if its parent is open. */
export async function makeInnerFolder(parent: string, name: string): Promise<string> {
  const folder = path.join(parent, name);
  await mkdir(folder, { mode: 0o700 });
  if (await isOpen(parent)) await openFolder(folder);
  return folder;
}

/** Lets the group read the file if its folder is open. */
export async function letGroupRead(file: string): Promise<void> {
  if (await isOpen(path.dirname(file))) await chmod(file, 0o640);
}

/** With these variables git trusts a checkout that belongs to another user. See safe.directory in git-config(1). */
export function gitTrust(checkout: string): Record<string, string> {
  return { GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: 'safe.directory', GIT_CONFIG_VALUE_0: checkout };
}

/**
 * Removes a folder with its content. Does nothing if there is no such folder. The other user removes the content of work
 * folders, because there that user could put links which we would follow. Throws if something is left.
 */
export async function removeFolder(folder: string, user: StepUser | null): Promise<void> {
  const workFolders = await workFoldersIn(folder);
  if (workFolders.length > 0 && user !== null) {
    const problem = await user(['rm', '-rf', '--', ...workFolders]);
    // There always is a problem, because the other user cannot remove the work folders themselves.
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

/** Does not look into work folders, because nothing in them can be trusted. */
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
