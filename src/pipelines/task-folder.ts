/** The private folder of a run's tasks below DATA_DIR, for their result files. */

import { chmod, readdir, rm } from 'node:fs/promises';
import path from 'node:path';

/**
 * Removes the folder with its content. Resolves to the error, or to null. Never throws, because no run needs the folder of
 * another one, and the next start of the server tries again.
 */
export async function removeTaskFolder(folder: string): Promise<unknown> {
  try {
    await rm(folder, { recursive: true, force: true });
    return null;
  } catch {
    // A task may have made a folder read-only.
    await makeWritable(folder).catch(() => undefined);
  }
  return rm(folder, { recursive: true, force: true }).then(
    () => null,
    (error: unknown) => error,
  );
}

/** Does not follow links. */
async function makeWritable(folder: string): Promise<void> {
  await chmod(folder, 0o700);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) await makeWritable(path.join(folder, entry.name));
  }
}
