/** One attempt at a deployment: its settings, and the folder of its checkout and its plan. */

import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { RemoteRepositories } from '../../git/requested/remote-repositories.ts';
import { removeFolder, type StepUser } from '../../isolation/open-folder.ts';
import type { CommandInput } from '../../runs/command.ts';
import type { DeploySecrets, GitAuth, KeptPlan } from '../../runs/deployments/deployment.ts';
import type { Step } from '../../runs/run.ts';
import type { RunEvent } from '../../runs/run-events.ts';
import { checkOutForRun } from '../check-out.ts';
import type { PipelineContext } from '../pipeline.ts';
import { makeRunFolder, openRunFolder } from '../run-folder.ts';
import { plannedStep } from '../step.ts';
import { restoreLockFile } from '../terraform/plan-file.ts';
import type { ToolSettings } from '../terraform/tool-step.ts';

export interface DeployOptions extends ToolSettings {
  steps(runId: string): Promise<Step[]>;
  repositories: RemoteRepositories;
  /** The operator's own repository, for deployments that a comment asks for. */
  ownRepository: Pick<RemoteRepositories, 'open'>;
  /** True if code that an operator asks for may run here. */
  hasWall: boolean;
  /** Why a commit that a comment asked for must not be deployed any more, or null. */
  withdrawn(asked: CommandInput, commit: string, signal: AbortSignal): Promise<string | null>;
  latestDecision(runId: string): Promise<Extract<RunEvent, { type: 'run.decided' }> | null>;
  latestPlan(runId: string): Promise<Extract<RunEvent, { type: 'run.planned' }> | null>;
  /** Resolves to null if the secrets cannot be read any more. */
  openSecrets(runId: string): Promise<DeploySecrets | null>;
  sealPlan(plan: KeptPlan): string;
  /** Resolves to null if no plan was kept, or if it cannot be read any more. */
  openPlan(runId: string): Promise<KeptPlan | null>;
}

export interface Attempt {
  options: DeployOptions;
  context: PipelineContext<'deploy'>;
  folder: string;
  checkout: string;
  planFile: string;
}

export function attemptAt(options: DeployOptions, context: PipelineContext<'deploy'>): Attempt {
  const folder = path.join(options.directory, context.run.id);
  return {
    options,
    context,
    folder,
    checkout: path.join(folder, 'checkout'),
    planFile: path.join(folder, 'tfplan'),
  };
}

interface Layout {
  auth: GitAuth | null;
  /** The commit, branch or tag to check out; by default that of the request. */
  ref?: string | undefined;
  /** The plan to apply, if there is one already. */
  plan?: KeptPlan | null;
}

/** Makes the folder again, with a checkout. Throws StepFailed. */
export async function layOut(
  attempt: Attempt,
  { auth, ref = attempt.context.run.input.gitRef, plan = null }: Layout,
): Promise<void> {
  const { options, context, folder, checkout } = attempt;
  const { gitUrl: url, path: directory, asked } = context.run.input;
  await makeRunFolder(folder, options.stepUser);
  await checkOutForRun(asked ? options.ownRepository : options.repositories, context, {
    url,
    ref,
    ...(asked && { otherRef: `refs/pull/${asked.pullRequest}/head` }),
    auth,
    directory: checkout,
  });
  if (plan) await restoreLockFile(plan, { checkout, directory });
  await openRunFolder(attempt, options.stepUser);
}

/** Checks the same commit out again, after a reboot or on another machine. Does not restore the plan. */
export async function layOutAgain(attempt: Attempt, layout: Omit<Layout, 'ref'>): Promise<void> {
  const { run, emit } = attempt.context;
  const message = 'The plan that was shown is not on this disk; its folder is made again';
  await emit(
    { type: 'run.notice', level: 'info', message },
    ...['clone', 'init'].map((step, position) => plannedStep(step, position, message)),
  );
  await layOut(attempt, { ...layout, ref: run.revision ?? undefined });
}

/**
 * Removes the plan and the files of `init`, which contain values of variables and of the backend, and the configuration
 * that an attempt which was killed has left, with its token.
 */
export async function forgetSecrets(folder: string, stepUser: StepUser | null): Promise<void> {
  for (const name of ['tfplan', 'tfplan.json', 'cli.tfrc']) {
    await rm(path.join(folder, name), { force: true });
  }
  for (const name of ['data', 'tmp']) {
    // Housekeeping tries again later, and removes the whole folder a day after the run.
    await removeFolder(path.join(folder, name), stepUser).catch(() => undefined);
  }
}
