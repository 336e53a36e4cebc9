/** Secrets that must not appear anywhere, and the search for them in every encoding that tools print. */

import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../../src/errors.ts';

export interface Canaries {
  /** Lists each canary in the text or bytes, with the form in which it appears. */
  seenIn(content: string | Uint8Array): string[];
}

/** Builds the search for the values, which are reported under their names. */
export function watchCanaries(values: Record<string, string>): Canaries {
  const forms = Object.entries(values).flatMap(([name, value]) =>
    Object.entries(formsOf(value)).map(([form, text]) => ({
      label: `${name} (${form})`,
      bytes: Buffer.from(text),
    })),
  );
  return {
    seenIn(content) {
      const bytes =
        typeof content === 'string'
          ? Buffer.from(content)
          : Buffer.from(content.buffer, content.byteOffset, content.byteLength);
      return forms.filter((form) => bytes.includes(form.bytes)).map(({ label }) => label);
    },
  };
}

function formsOf(value: string): Record<string, string> {
  const bytes = Buffer.from(value);
  return {
    raw: value,
    json: JSON.stringify(value).slice(1, -1),
    'url-encoded': encodeURIComponent(value),
    base64: innerBase64(bytes, 0),
    'base64 after one byte': innerBase64(bytes, 1),
    'base64 after two bytes': innerBase64(bytes, 2),
    base64url: innerBase64(bytes, 0).replaceAll('+', '-').replaceAll('/', '_'),
  };
}

/** The base64 digits that depend only on the value when `before` bytes come before it. */
function innerBase64(bytes: Buffer, before: number): string {
  const encoded = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64');
  return encoded.slice(Math.ceil((before * 8) / 6), Math.floor(((before + bytes.length) * 8) / 6));
}

/** The most scans of a folder in which files disappear all the time. */
const SCANS = 5;

/**
 * Lists `path: canary (form)` for each file or link below `folder` that contains a canary. Other processes may remove
 * files meanwhile. The folder is then scanned again, because such a file may now have a name that the scan has
 * already passed.
 */
export async function canariesInFiles(folder: string, canaries: Canaries): Promise<string[]> {
  const found = new Set<string>();
  const look = (path: string, content: string | Uint8Array): void => {
    for (const seen of canaries.seenIn(content)) found.add(`${path}: ${seen}`);
  };
  for (let scan = 0; scan < SCANS; scan += 1) {
    if (await scanFolder(folder, look)) return [...found];
  }
  throw new Error(`Files below ${folder} disappeared in each of ${SCANS} scans.`);
}

/** Looks at the names and contents of everything in the folder. Resolves to false if something in it disappeared. */
async function scanFolder(
  folder: string,
  look: (path: string, content: string | Uint8Array) => void,
): Promise<boolean> {
  let isComplete = true;
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    look(path, entry.name);
    try {
      if (entry.isSymbolicLink()) look(path, await readlink(path));
      else if (entry.isFile()) look(path, await readFile(path));
      else if (entry.isDirectory() && !(await scanFolder(path, look))) isComplete = false;
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
      isComplete = false;
    }
  }
  return isComplete;
}
