/** The tool as a deployment uses it: made ready for its work, and with the flags that it asks for. */

import type { DeploySecrets } from '../../runs/deployments/deployment.ts';
import { flagFiles, flagSecrets, givenValues } from '../../runs/deployments/tool-flags.ts';
import type { PipelineContext } from '../pipeline.ts';
import { type PrepareOptions, prepareTool } from '../terraform/prepare-tool.ts';
import { resolveVarFiles } from '../terraform/var-files.ts';
import type { PreparedTool } from '../tool-step.ts';
import type { DeployPlace } from './deploy-place.ts';

type Context = PipelineContext<'deploy'>;

/** Gives the tool to `work`, with its credentials on the disk only as long as that takes. */
export async function withTool<T>(
  options: PrepareOptions,
  context: Context,
  place: DeployPlace,
  secrets: DeploySecrets,
  work: (tool: PreparedTool, prefaceLines: string[]) => Promise<T>,
): Promise<T> {
  const { run, signal } = context;
  const prepared = await prepareTool(options, {
    runId: run.id,
    folder: place.folder,
    checkout: place.checkout,
    directory: run.input.path,
    tool: run.input.tool,
    version: run.input.toolVersion,
    environment: secrets.environment,
    timeoutMs: run.input.timeoutMs,
    trusted: true,
    secrets: flagSecrets([...secrets.initFlags, ...secrets.planFlags]),
    given: givenValues(secrets),
    signal,
  });
  try {
    return await work(prepared.tool, prepared.remarks);
  } finally {
    await prepared.release();
  }
}

/** Files that flags name are looked at, too, wherever links lead. */
export async function planFlags(
  context: Context,
  cwd: string,
  { checkout }: DeployPlace,
  { planFlags: flags }: DeploySecrets,
): Promise<string[]> {
  const { input } = context.run;
  await resolveVarFiles(flagFiles('plan', flags), context, { cwd, checkout });
  const files = await resolveVarFiles(input.tfvarsFiles, context, { cwd, checkout });
  return [
    ...(input.operation === 'destroy' ? ['-destroy'] : []),
    ...flags,
    ...files.map((file) => `-var-file=${file}`),
  ];
}
