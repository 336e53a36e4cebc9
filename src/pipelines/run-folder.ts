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
import { StepFailed } from './tool-step.ts';

export interface RunFolderOptions {
  /** Who runs the steps, when that may be another user; null: we do. */
  stepUser: StepUser | null;
}

/** Makes it anew, whatever is there, for us alone. Throws StepFailed when others could change what is in it. */
export async function makeRunFolder({ stepUser }: RunFolderOptions, folder: string): Promise<void> {
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

/** Once the checkout is there: lets the other user come, where DEPLOY_DIR allows it. */
export async function openRunFolder(
  { stepUser }: RunFolderOptions,
  { folder, checkout }: { folder: string; checkout: string },
): Promise<void> {
  if (stepUser === null || !(await isOpen(path.dirname(folder)))) return;
  await openWorkFolder(checkout);
  await openFolder(folder);
}
