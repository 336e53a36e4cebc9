/** Keeps a plan beyond the run's folder, and brings it back where that folder is gone: after a reboot, on another machine. */

import { readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { resolveInside } from '../../git/read/inside.ts';
import { readMadeFile } from '../../isolation/foreign-files.ts';
import { letGroupRead } from '../../isolation/open-folder.ts';
import type { KeptPlan } from '../../runs/deployments/deployment.ts';

/** A larger one is applied only where it was made. */
const MAX_BYTES = 32 * 1024 * 1024;
const MAX_LOCK_FILE_BYTES = 1024 * 1024;
const LOCK_FILE = '.terraform.lock.hcl';

/** Undefined when it is too large. `cwd` is the root module's folder in the checkout. */
export async function keepPlan(
  planFile: string,
  { checkout, cwd }: { checkout: string; cwd: string },
): Promise<KeptPlan | undefined> {
  if ((await stat(planFile)).size > MAX_BYTES) return undefined;
  const lockFile = await readMadeFile(checkout, path.join(cwd, LOCK_FILE), MAX_LOCK_FILE_BYTES).catch(
    () => null,
  );
  return { file: await readFile(planFile, 'base64'), lockFile: lockFile?.toString() ?? null };
}

/**
 * Before `init`, so that it takes the providers that the plan was made with; and before anybody else comes to the
 * checkout. A folder that is not there is told by what comes after.
 */
export async function restoreLockFile(
  { lockFile }: KeptPlan,
  { checkout, directory }: { checkout: string; directory: string },
): Promise<void> {
  const cwd = await resolveInside(checkout, directory).catch(() => null);
  if (lockFile === null || cwd === null) return;
  const file = path.join(cwd, LOCK_FILE);
  // Of the commit, where it may be a link.
  await rm(file, { force: true });
  await writeFile(file, lockFile, { flag: 'wx' });
}

/** Whole or not at all: what is there already is taken for the plan. */
export async function restorePlan({ file }: KeptPlan, planFile: string): Promise<void> {
  const whole = `${planFile}.new`;
  await writeFile(whole, file, { encoding: 'base64', mode: 0o600 });
  await letGroupRead(whole);
  await rename(whole, planFile);
}
