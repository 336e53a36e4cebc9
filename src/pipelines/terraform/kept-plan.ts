/** Keeps a plan beyond the run's folder, and brings it back where that folder is gone: after a reboot, on another machine. */

import { readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { KeptPlan } from '../../runs/deployment.ts';

/** A larger one is applied only where it was made. */
const MAX_BYTES = 32 * 1024 * 1024;
const LOCK_FILE = '.terraform.lock.hcl';

/** Undefined when it is too large. `cwd` is the root module's folder. */
export async function keepPlan(planFile: string, cwd: string): Promise<KeptPlan | undefined> {
  if ((await stat(planFile)).size > MAX_BYTES) return undefined;
  const lockFile = await readFile(path.join(cwd, LOCK_FILE), 'utf8').catch(() => null);
  return { file: await readFile(planFile, 'base64'), lockFile };
}

/** Before `init`, so that it takes the providers that the plan was made with. */
export async function restoreLockFile({ lockFile }: KeptPlan, cwd: string): Promise<void> {
  if (lockFile !== null) await writeFile(path.join(cwd, LOCK_FILE), lockFile);
}

export async function restorePlan({ file }: KeptPlan, planFile: string): Promise<void> {
  await writeFile(planFile, file, { encoding: 'base64', mode: 0o600 });
}
