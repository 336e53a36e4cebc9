/** Makes a folder and those above it, where Node's own way may try for ever. */

import { existsSync, lstatSync, mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { RunnerError } from './errors.ts';

/**
 * Like mkdirSync with `recursive`, which never ends (Node 24) where a file system answers ENOENT to a new folder in
 * one that exists, as /proc does. Throws the system's error, which names the path.
 */
export function makeFolder(directory: string, mode = 0o777): void {
  if (isFolder(directory)) return;
  const parent = path.dirname(directory);
  if (!existsSync(parent)) makeFolder(parent, mode);
  try {
    mkdirSync(directory, { mode });
  } catch (error) {
    // Somebody else may have been quicker.
    if (!isFolder(directory)) throw error;
  }
}

function isFolder(directory: string): boolean {
  return statSync(directory, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/**
 * The same for a folder in a public place such as /tmp, mode 0700: whoever made it before may not be somebody else, nor
 * may others write to it. Throws RunnerError naming it by `setting`.
 */
export function makeOwnFolder(setting: string, directory: string): void {
  makeFolder(directory, 0o700);
  const { uid, mode } = lstatSync(directory);
  const isTrusted = uid === 0 || uid === process.getuid?.();
  if (isTrusted && (mode & 0o022) === 0) return;
  throw new RunnerError(`${setting} ${directory} can be changed by others.`, {
    nextAction: `Remove it, or set ${setting} to a folder that only this user can write to.`,
  });
}
