/** The plan file of a run, and what it is known by: an approval is bound to that. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { unlink } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { copyMadeFile } from '../../isolation/foreign-files.ts';
import { letGroupRead } from '../../isolation/open-folder.ts';

const MAX_PLAN_BYTES = 1024 ** 3;

/** Where the tool puts a plan that becomes `planFile`: in its own folder for temporary files. */
export function madeAt(planFile: string): string {
  return path.join(path.dirname(planFile), 'tmp', path.basename(planFile));
}

/** Makes what the tool has made ours, so that nothing that runs as the user of the steps can change it any more. */
export async function takePlan(planFile: string, signal: AbortSignal): Promise<void> {
  const made = madeAt(planFile);
  await copyMadeFile(path.dirname(made), made, planFile, { maxBytes: MAX_PLAN_BYTES, signal });
  await letGroupRead(planFile);
  // Only for its space.
  await unlink(made).catch(() => undefined);
}

/** SHA-256 of the file, hex; empty when there is none. */
export async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(file), hash);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
  return hash.digest('hex');
}
