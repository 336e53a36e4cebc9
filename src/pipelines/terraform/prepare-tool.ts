/** Prepares a tool for one run: program, folders, CLI configuration and environment. Removes its credentials afterwards. */

import { realpath, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { describeError } from '../../errors.ts';
import { resolveInside } from '../../git/read/inside.ts';
import { gitTrust, isOpen, letGroupRead, makeWorkFolder } from '../../isolation/open-folder.ts';
import { taskSecrets } from '../../process/environment.ts';
import type { Tool } from '../../runs/deployments/deployment.ts';
import { StepFailed } from '../step.ts';
import { toolEnvironment } from './environment.ts';
import { mirroredProviders, writeCliConfig } from './install/cli-config.ts';
import { plantedPlugins } from './install/planted-plugins.ts';
import { fetchRegistryToken } from './install/registry-token.ts';
import { findTool } from './install/tools.ts';
import type { PreparedTool, ToolSettings } from './tool-step.ts';

interface WantedTool {
  runId: string;
  /** The run's own folder. */
  folder: string;
  checkout: string;
  /** The root module's folder, relative to the checkout. */
  directory: string;
  tool: Tool;
  version: string | null;
  environment: Readonly<Record<string, string>>;
  timeoutMs: number;
  /** False refuses a repository with programs that the tool would start. */
  trusted: boolean;
  /** Masked in every log. */
  secrets: readonly string[];
  given: readonly string[];
  signal: AbortSignal;
}

/**
 * Passes the tool to `work`, with its credentials on the disk only until `work` has ended. `remarks` are for the log of
 * the first step. Throws StepFailed if the tool, the folder or the repository cannot be used.
 */
export async function withPreparedTool<T>(
  settings: ToolSettings,
  wanted: WantedTool,
  work: (tool: PreparedTool, remarks: string[]) => Promise<T>,
): Promise<T> {
  const found = await findTool(settings.tools, wanted.tool, wanted.version);
  if (!found.ok) throw new StepFailed({ state: 'errored', reason: 'tool_missing', message: found.problem });
  const cwd = await rootModule(wanted);
  if (!wanted.trusted) await refusePlantedPlugins(cwd, wanted.directory);
  const cliConfigFile = path.join(wanted.folder, 'cli.tfrc');
  // An attempt that was killed may have left the file.
  await rm(cliConfigFile, { force: true });
  try {
    const { token, remarks } = await writeCredentials(settings, wanted, cliConfigFile);
    const env = await environmentOf(settings, wanted, cliConfigFile);
    const { executor, initExecutor, interruptGraceMs } = settings;
    const tool = {
      executor,
      initExecutor,
      interruptGraceMs,
      program: found.program,
      cwd,
      env,
      // The secrets of the environment are included for the checks, which see the plan but not the environment.
      secrets: [...wanted.secrets, ...taskSecrets(env), ...(token === null ? [] : [token])],
      given: wanted.given,
      timeoutMs: wanted.timeoutMs,
    };
    return await work(tool, remarks);
  } finally {
    await rm(cliConfigFile, { force: true });
  }
}

/** Resolves to the registry's token, which is also in the file. */
async function writeCredentials(
  { registryUrl, providerMirrorDir }: ToolSettings,
  { signal, trusted }: WantedTool,
  file: string,
): Promise<{ token: string | null; remarks: string[] }> {
  const answer = registryUrl === null ? { token: null } : await fetchRegistryToken(registryUrl, { signal });
  const token = 'token' in answer ? answer.token : null;
  await writeCliConfig(file, {
    registry: registryUrl === null ? null : { url: registryUrl, token },
    mirror: providerMirrorDir === null ? null : await mirrorAt(providerMirrorDir),
    repositoryProviders: trusted,
  });
  await letGroupRead(file);
  if ('token' in answer) return { token, remarks: [] };
  return { token, remarks: [`No token of the registry, going on without credentials: ${answer.problem}`] };
}

async function mirrorAt(directory: string) {
  return { directory, providers: await mirroredProviders(directory) };
}

async function environmentOf(
  { plumbing, gitProtocols }: ToolSettings,
  { runId, folder, directory, checkout, environment }: WantedTool,
  cliConfigFile: string,
): Promise<Record<string, string>> {
  const dataDir = await makeWorkFolder(folder, 'data');
  const env = toolEnvironment({
    runId,
    home: await makeWorkFolder(folder, 'home'),
    tempDir: await makeWorkFolder(folder, 'tmp'),
    dataDir: path.join(dataDir, directory === '.' ? 'root' : directory),
    cliConfigFile,
    plumbing,
    requested: environment,
    gitProtocols,
  });
  return (await isOpen(folder)) ? { ...gitTrust(await realpath(checkout)), ...env } : env;
}

/** Resolves the real path of the root module. It must be a folder of the checkout, even if links are followed. */
async function rootModule({ checkout, directory }: WantedTool): Promise<string> {
  try {
    const folder = await resolveInside(checkout, directory);
    if ((await stat(folder)).isDirectory()) return folder;
    throw new Error('It is no folder.');
  } catch (error) {
    const message = `The root module cannot be used: ${describeError(error)}`;
    throw new StepFailed({ state: 'failed', reason: 'request_invalid', message });
  }
}

async function refusePlantedPlugins(cwd: string, directory: string): Promise<void> {
  const planted = await plantedPlugins(cwd);
  if (planted.length === 0) return;
  const message = `${directory} holds programs that a plan would start: ${planted.slice(0, 5).join(', ')}`;
  throw new StepFailed({ state: 'failed', reason: 'repository_invalid', message });
}
