/** The folder of one run below DEPLOY_DIR: its checkout, plan and temporary files. */

import path from 'node:path';
import { describeError } from '../errors.ts';
import {
  isOpen,
  makeClosedFolder,
  openFolder,
  openWorkFolder,
  removeFolder,
  type StepUser,
} from '../isolation/open-folder.ts';
import { makeOwnFolder } from '../make-folder.ts';
import { StepFailed } from './step.ts';

/** Makes a new folder, which other users cannot enter. Throws StepFailed if others could change its content. */
export async function makeRunFolder(folder: string, stepUser: StepUser | null): Promise<void> {
  try {
    makeOwnFolder('DEPLOY_DIR', path.dirname(folder));
    await removeFolder(folder, stepUser);
    await makeClosedFolder(folder);
  } catch (error) {
    throw new StepFailed({
      state: 'errored',
      reason: 'workspace_unavailable',
      message: `The folder of the run cannot be made: ${describeError(error)}`,
    });
  }
}

/** Opens the folder, which has a checkout now, to the user of the steps if DEPLOY_DIR allows that. */
export async function openRunFolder(
  { folder, checkout }: { folder: string; checkout: string },
  stepUser: StepUser | null,
): Promise<void> {
  if (stepUser === null || !(await isOpen(path.dirname(folder)))) return;
  await openWorkFolder(checkout);
  await openFolder(folder);
}
