/** Where a deployment is worked on: the folder of its checkout and its plan, laid out the first time and again. */

import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { RemoteRepositories } from '../../git/requested/remote-repositories.ts';
import { removeFolder } from '../../isolation/open-folder.ts';
import type { GitAuth, KeptPlan } from '../../runs/deployments/deployment.ts';
import type { DeployRun } from '../../runs/run.ts';
import { checkOutForRun } from '../check-out.ts';
import type { PipelineContext } from '../pipeline.ts';
import { makeRunFolder, openRunFolder, type RunFolderOptions } from '../run-folder.ts';
import { plannedStep } from '../sync/planned-steps.ts';
import { restoreLockFile } from '../terraform/kept-plan.ts';

export interface DeployPlace {
  folder: string;
  checkout: string;
  planFile: string;
}

export interface DeployPlaceOptions extends RunFolderOptions {
  /** Holds a folder for each run. */
  directory: string;
  repositories: RemoteRepositories;
  /** The operator's own, for what comments ask for. */
  ownRepository: Pick<RemoteRepositories, 'open'>;
}

export function placeOf({ directory }: DeployPlaceOptions, { id }: DeployRun): DeployPlace {
  const folder = path.join(directory, id);
  return { folder, checkout: path.join(folder, 'checkout'), planFile: path.join(folder, 'tfplan') };
}

interface Layout {
  auth: GitAuth | null;
  /** What is checked out; what was asked for unless given. */
  ref?: string | undefined;
  /** Made before, to be applied there. */
  plan?: KeptPlan | null;
}

/** Makes the folder anew, with a checkout. Throws StepFailed. */
export async function layOut(
  options: DeployPlaceOptions,
  context: PipelineContext<'deploy'>,
  place: DeployPlace,
  { auth, ref = context.run.input.gitRef, plan = null }: Layout,
): Promise<void> {
  const { checkout, folder } = place;
  const { gitUrl: url, path: directory, asked } = context.run.input;
  await makeRunFolder(options, folder);
  await checkOutForRun(asked ? options.ownRepository : options.repositories, context, {
    url,
    ref,
    ...(asked && { otherRef: `refs/pull/${asked.pullRequest}/head` }),
    auth,
    directory: checkout,
  });
  if (plan) await restoreLockFile(plan, { checkout, directory });
  await openRunFolder(options, place);
}

/** Without its plan, as after a reboot or on another machine: the same commit is checked out once more. */
export async function layOutAgain(
  options: DeployPlaceOptions,
  context: PipelineContext<'deploy'>,
  place: DeployPlace,
  layout: Omit<Layout, 'ref'>,
): Promise<void> {
  const { run, emit } = context;
  const message = 'The plan that was shown is not on this disk; laying it out again';
  await emit(
    { type: 'run.notice', level: 'info', message },
    ...['clone', 'init'].map((step, position) => plannedStep(step, position, message)),
  );
  await layOut(options, context, place, { ...layout, ref: run.revision ?? undefined });
}

/**
 * The plan and what `init` leaves hold values of variables and of the backend, and the configuration of an attempt that
 * was killed a token: nobody needs them any more.
 */
export async function forgetSecrets({ stepUser }: RunFolderOptions, folder: string): Promise<void> {
  for (const name of ['tfplan', 'tfplan.json', 'cli.tfrc']) {
    await rm(path.join(folder, name), { force: true });
  }
  for (const name of ['data', 'tmp']) {
    // What stays is tried again by whoever looks after the folders, and removed with the folder, a day later.
    await removeFolder(path.join(folder, name), stepUser).catch(() => undefined);
  }
}
