/** Makes a folder and those above it. Node's own function may never return. */

import { existsSync, lstatSync, mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { RunnerError } from './errors.ts';

/**
 * Replaces mkdirSync with `recursive`. That never returns (Node 24) if a file system such as /proc answers ENOENT to a
 * new folder in an existing one. Throws the system's error, which names the path.
 */
export function makeFolder(directory: string, mode = 0o777): void {
  if (isFolder(directory)) return;
  const parent = path.dirname(directory);
  if (!existsSync(parent)) makeFolder(parent, mode);
  try {
    mkdirSync(directory, { mode });
  } catch (error) {
    // Another process may have made the folder first.
    if (!isFolder(directory)) throw error;
  }
}

function isFolder(directory: string): boolean {
  return statSync(directory, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/**
 * The same for a folder with the mode 0700 in a public place such as /tmp. Throws RunnerError, which names the variable
 * `setting`, if the folder belongs to another user or if others can write to it.
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
