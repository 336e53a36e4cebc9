/** Folders that last as long as a test, and longer when it failed. */

import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A fresh folder; its path is real, without symbolic links. */
export async function makeTemporaryFolder(name: string): Promise<string> {
  return realpath(await mkdtemp(join(tmpdir(), `iac-runner-${name}-`)));
}

/** Removes it whatever is in it; a process that still writes there is given a moment. */
export async function removeFolder(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}
