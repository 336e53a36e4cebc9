/** Looks for a secret that must be in no file: every file below a folder is read. */

import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** The files below `folder`, relative to it, that hold the word CANARY. */
export function canariesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((file) => readFileSync(file).includes('CANARY'))
    .map((file) => path.relative(folder, file));
}
