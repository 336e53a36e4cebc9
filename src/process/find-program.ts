/** Finds a program on a PATH. */

import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import path from 'node:path';

/**
 * The absolute path of the program, as execvp(3) would find it, but for relative entries of PATH: those would mean the
 * working directory. Null when there is none.
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
