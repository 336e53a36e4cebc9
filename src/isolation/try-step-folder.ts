/** Tests whether the user who runs the steps can work in a folder below DEPLOY_DIR or TEMP_DIR. */

import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { describeError } from '../errors.ts';
import { makeOwnFolder } from '../make-folder.ts';
import { readMadeFile } from './foreign-files.ts';
import {
  isOpen,
  makeClosedFolder,
  makeWorkFolder,
  openFolder,
  removeFolder,
  type StepUser,
} from './open-folder.ts';

/** Resolves to the problem and the next action, or to null. `setting` is the variable that names the directory. */
export async function stepFolderProblem(
  setting: string,
  directory: string,
  anyStepUser: StepUser,
  signal = new AbortController().signal,
): Promise<string | null> {
  const stepUser: StepUser = (argv) => anyStepUser(argv, signal);
  // It has the name of a run, so that housekeeping removes it if this process dies.
  const folder = path.join(directory, randomUUID());
  const what = `The user of EXECUTOR_COMMAND cannot work below ${setting} ${directory}`;
  try {
    makeOwnFolder(setting, directory);
    await makeClosedFolder(folder);
    const shared = await isOpen(directory);
    if (shared) await openFolder(folder);
    const workFolder = await makeWorkFolder(folder, 'work');
    const file = path.join(workFolder, 'file');
    const problem = await stepUser(['cp', '/dev/null', file]);
    if (problem !== null) return `${what}: ${problem}. ${shared ? ADD_TO_GROUP : openIt(directory)}`;
    await readMadeFile(workFolder, file, 0);
    return null;
  } catch (error) {
    return `${what}, or what it makes cannot be read: ${describeError(error)}`;
  } finally {
    await removeFolder(folder, stepUser).catch(() => undefined);
  }
}

const ADD_TO_GROUP = 'Add that user to the group of the folder.';

function openIt(directory: string): string {
  return `For a local user: install -d -m 2750 -o ${process.geteuid?.() ?? 'THIS-USER'} -g GROUP-OF-BOTH ${directory}`;
}
