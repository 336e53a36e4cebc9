/** The tool as a deployment uses it: with the secrets and the flags of its request. */

import { describeError } from '../../errors.ts';
import { resolveInside } from '../../git/read/inside.ts';
import type { DeploySecrets } from '../../runs/deployments/deployment.ts';
import { flagFiles, flagSecrets, givenValues } from '../../runs/deployments/tool-flags.ts';
import { finishStep, StepFailed } from '../step.ts';
import { withPreparedTool } from '../terraform/prepare-tool.ts';
import type { PreparedTool } from '../terraform/tool-step.ts';
import type { Attempt } from './attempt.ts';

/** Passes the tool to `work`, with its credentials on the disk only until `work` has ended. */
export function withTool<T>(
  { options, context: { run, signal }, folder, checkout }: Attempt,
  secrets: DeploySecrets,
  work: (tool: PreparedTool, prefaceLines: string[]) => Promise<T>,
): Promise<T> {
  const { path: directory, tool, toolVersion, timeoutMs } = run.input;
  const wanted = {
    runId: run.id,
    folder,
    checkout,
    directory,
    tool,
    version: toolVersion,
    timeoutMs,
    environment: secrets.environment,
    trusted: true,
    secrets: flagSecrets([...secrets.initFlags, ...secrets.planFlags]),
    given: givenValues(secrets),
    signal,
  };
  return withPreparedTool(options, wanted, work);
}

/** Throws StepFailed if a file that the flags or the request name is not in the checkout. */
export async function planFlags(
  attempt: Attempt,
  cwd: string,
  { planFlags: flags }: DeploySecrets,
): Promise<string[]> {
  const { input } = attempt.context.run;
  await resolveVarFiles(attempt, cwd, flagFiles('plan', flags));
  const files = await resolveVarFiles(attempt, cwd, input.tfvarsFiles);
  return [
    ...(input.operation === 'destroy' ? ['-destroy'] : []),
    ...flags,
    ...files.map((file) => `-var-file=${file}`),
  ];
}

/** Resolves the real paths of the files. They must be in the checkout, even if links are followed. */
async function resolveVarFiles(
  { context, checkout }: Attempt,
  cwd: string,
  names: readonly string[],
): Promise<string[]> {
  const files: string[] = [];
  for (const name of names) {
    try {
      files.push(await resolveInside(checkout, cwd, name));
    } catch (error) {
      const message = `tfvars_files: ${describeError(error)}`;
      await finishStep(context, 'plan', { state: 'blocked', message });
      throw new StepFailed({ state: 'failed', reason: 'request_invalid', message });
    }
  }
  return files;
}
