/** The private folder of a run's tasks, below DATA_DIR: where they say what they did. */

import { chmod, readdir, rm } from 'node:fs/promises';
import path from 'node:path';

/**
 * Removes it with all that tasks put there. Never throws: no run needs the folder of another one, and the next start
 * tries again. Resolves to what went wrong, or null.
 */
export async function removeTaskFolder(folder: string): Promise<unknown> {
  try {
    await rm(folder, { recursive: true, force: true });
    return null;
  } catch {
    // A task may have taken the right to write from a folder of its own.
    await letUsWrite(folder).catch(() => undefined);
  }
  return rm(folder, { recursive: true, force: true }).then(
    () => null,
    (error: unknown) => error,
  );
}

/** Links are not followed. */
async function letUsWrite(folder: string): Promise<void> {
  await chmod(folder, 0o700);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) await letUsWrite(path.join(folder, entry.name));
  }
}
