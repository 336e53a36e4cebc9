/** Finds a program on a PATH. */

import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import path from 'node:path';

/**
 * Resolves to the absolute path of the program, or to null. Searches like execvp(3), but ignores relative entries of PATH,
 * because they would mean the working directory.
 */
export async function findProgram(searched: string, name: string): Promise<string | null> {
  for (const folder of searched.split(path.delimiter)) {
    const program = path.join(folder, name);
    if (path.isAbsolute(folder) && (await isProgram(program))) return program;
  }
  return null;
}

export async function isProgram(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}
