/** The plan file of a run: its digest, which an approval is bound to, and its copy for later or for another machine. */

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { errorCode } from '../../errors.ts';
import { resolveInside } from '../../git/read/inside.ts';
import { copyMadeFile, readMadeFile } from '../../isolation/foreign-files.ts';
import { letGroupRead } from '../../isolation/open-folder.ts';
import type { KeptPlan } from '../../runs/deployments/deployment.ts';

const MAX_PLAN_BYTES = 1024 ** 3;
/** A larger plan is not kept, so only the machine that made it can apply it. */
const MAX_KEPT_BYTES = 32 * 1024 * 1024;
const MAX_LOCK_FILE_BYTES = 1024 * 1024;
const LOCK_FILE = '.terraform.lock.hcl';

/** Returns where the tool writes the plan that becomes `planFile`, which is in its folder for temporary files. */
export function madeAt(planFile: string): string {
  return path.join(path.dirname(planFile), 'tmp', path.basename(planFile));
}

/** Copies the plan to a file that no process of the steps' user can change. */
export async function takePlan(planFile: string, signal: AbortSignal): Promise<void> {
  const made = madeAt(planFile);
  await copyMadeFile(path.dirname(made), made, planFile, { maxBytes: MAX_PLAN_BYTES, signal });
  await letGroupRead(planFile);
  // The file is removed only to free its space.
  await unlink(made).catch(() => undefined);
}

/** SHA-256 of the file, hex, or '' if there is no such file. */
export async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    await pipeline(createReadStream(file), hash);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return '';
    throw error;
  }
  return hash.digest('hex');
}

/** Returns undefined if the plan is too large. `cwd` is the root module's folder in the checkout. */
export async function keepPlan(
  planFile: string,
  { checkout, cwd }: { checkout: string; cwd: string },
): Promise<KeptPlan | undefined> {
  if ((await stat(planFile)).size > MAX_KEPT_BYTES) return undefined;
  const lockFile = await readMadeFile(checkout, path.join(cwd, LOCK_FILE), MAX_LOCK_FILE_BYTES).catch(
    () => null,
  );
  return { file: await readFile(planFile, 'base64'), lockFile: lockFile?.toString() ?? null };
}

/**
 * Call it before `init`, so that `init` takes the providers that the plan was made with, and before another user
 * may write to the checkout. Does nothing if the folder is missing: a later step reports that.
 */
export async function restoreLockFile(
  { lockFile }: KeptPlan,
  { checkout, directory }: { checkout: string; directory: string },
): Promise<void> {
  const cwd = await resolveInside(checkout, directory).catch(() => null);
  if (lockFile === null || cwd === null) return;
  const file = path.join(cwd, LOCK_FILE);
  // The commit may contain a link of this name.
  await rm(file, { force: true });
  await writeFile(file, lockFile, { flag: 'wx' });
}

/** Writes the whole plan or nothing, because a file at this path counts as the plan. */
export async function restorePlan({ file }: KeptPlan, planFile: string): Promise<void> {
  const whole = `${planFile}.new`;
  await writeFile(whole, file, { encoding: 'base64', mode: 0o600 });
  await letGroupRead(whole);
  await rename(whole, planFile);
}
