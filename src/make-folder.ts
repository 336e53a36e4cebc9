/** Makes a folder and those above it, where Node's own way may try for ever. */

import { existsSync, mkdirSync, statSync } from 'node:fs';
import path from 'node:path';

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
