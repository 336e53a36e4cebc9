/** Folders that exist as long as a test, and longer if it failed. */

import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Creates a new folder. Its path is real, without symbolic links. */
export async function makeTemporaryFolder(name: string): Promise<string> {
  return realpath(await mkdtemp(join(tmpdir(), `iac-runner-${name}-`)));
}

/** Removes the folder with its content. A process that still writes there gets a moment to end. */
export async function removeFolder(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
}
