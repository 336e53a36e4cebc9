/** The folder of one run below DEPLOY_DIR: its checkout, plan and temporary files. */

import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { describeError } from '../errors.ts';
import { makeOwnFolder } from '../make-folder.ts';
import { StepFailed } from './tool-step.ts';

/** Makes it anew, whatever is there. Throws StepFailed when others could change what is in it. */
export async function makeRunFolder(folder: string): Promise<void> {
  try {
    makeOwnFolder('DEPLOY_DIR', path.dirname(folder));
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    throw new StepFailed({
      state: 'errored',
      reason: 'workspace_unavailable',
      message: `The folder of the run cannot be made: ${describeError(error)}`,
    });
  }
}
