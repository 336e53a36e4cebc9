/** Makes a tool ready for one run: program, folders, CLI configuration, environment; and takes its credentials away again. */

import { realpath, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { describeError } from '../../errors.ts';
import { resolveInside } from '../../git/read/inside.ts';
import { gitTrust, isOpen, letGroupRead, makeWorkFolder } from '../../isolation/open-folder.ts';
import { taskSecrets } from '../../process/environment.ts';
import type { Tool } from '../../runs/deployments/deployment.ts';
import { type PreparedTool, StepFailed } from '../tool-step.ts';
import { toolEnvironment } from './environment.ts';
import { mirroredProviders, writeCliConfig } from './install/cli-config.ts';
import { plantedPlugins } from './install/planted-plugins.ts';
import { fetchRegistryToken } from './install/registry-token.ts';
import { findTool, type ToolPlaces } from './install/tools.ts';

export interface PrepareOptions {
  tools: ToolPlaces;
  /** The operator's PATH, proxies, certificates and language. */
  plumbing: Readonly<Record<string, string>>;
  /** What modules may be fetched by. */
  gitProtocols: readonly string[];
  registryUrl: string | null;
  providerMirrorDir: string | null;
}

export interface Preparation {
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
  /** False: nothing that could be started may lie in the repository. */
  trusted: boolean;
  /** Masked in every log. */
  secrets: readonly string[];
  given: readonly string[];
  signal: AbortSignal;
}

export interface ReadyTool {
  tool: PreparedTool;
  /** For the log of the next step. */
  remarks: string[];
  /** Removes what holds credentials. */
  release(): Promise<void>;
}

/** Throws StepFailed when the tool, the folder or the repository cannot be used. */
export async function prepareTool(options: PrepareOptions, wanted: Preparation): Promise<ReadyTool> {
  const found = await findTool(options.tools, wanted.tool, wanted.version);
  if (!found.ok) throw new StepFailed({ state: 'errored', reason: 'tool_missing', message: found.problem });
  const cwd = await rootModule(wanted);
  if (!wanted.trusted) await refusePlantedPlugins(cwd, wanted.directory);
  const { folder } = wanted;
  const home = await makeWorkFolder(folder, 'home');
  const tempDir = await makeWorkFolder(folder, 'tmp');
  const dataDir = await makeWorkFolder(folder, 'data');
  const cliConfigFile = path.join(folder, 'cli.tfrc');
  // Of an attempt that was cut off.
  await rm(cliConfigFile, { force: true });
  const { registry, remarks } = await askRegistry(options, wanted.signal);
  await writeCliConfig(cliConfigFile, {
    registry,
    mirror: await mirrorOf(options.providerMirrorDir),
    repositoryProviders: wanted.trusted,
  });
  await letGroupRead(cliConfigFile);
  const env = toolEnvironment({
    runId: wanted.runId,
    home,
    tempDir,
    dataDir: path.join(dataDir, wanted.directory === '.' ? 'root' : wanted.directory),
    cliConfigFile,
    plumbing: options.plumbing,
    requested: wanted.environment,
    gitProtocols: options.gitProtocols,
  });
  const token = registry?.token ?? null;
  return {
    tool: {
      program: found.program,
      cwd,
      env: (await isOpen(folder)) ? { ...gitTrust(await realpath(wanted.checkout)), ...env } : env,
      // Those of the environment, too: checks do not get it, and are shown a plan that may hold them.
      secrets: [...wanted.secrets, ...taskSecrets(env), ...(token === null ? [] : [token])],
      given: wanted.given,
      timeoutMs: wanted.timeoutMs,
    },
    remarks,
    release: () => rm(cliConfigFile, { force: true }),
  };
}

/** The real path of the root module, wherever links lead: it must be a folder of the checkout. */
async function rootModule({ checkout, directory }: Preparation): Promise<string> {
  try {
    const folder = await resolveInside(checkout, directory);
    if ((await stat(folder)).isDirectory()) return folder;
    throw new Error('It is no folder.');
  } catch (error) {
    const message = `path: ${directory} cannot be used: ${describeError(error)}`;
    throw new StepFailed({ state: 'failed', reason: 'request_invalid', message });
  }
}

async function refusePlantedPlugins(cwd: string, directory: string): Promise<void> {
  const planted = await plantedPlugins(cwd);
  if (planted.length === 0) return;
  const message = `${directory} holds programs that a plan would start: ${planted.slice(0, 5).join(', ')}`;
  throw new StepFailed({ state: 'failed', reason: 'repository_invalid', message });
}

async function askRegistry({ registryUrl: url }: PrepareOptions, signal: AbortSignal) {
  if (url === null) return { registry: null, remarks: [] };
  const answer = await fetchRegistryToken(url, { signal });
  if ('token' in answer) return { registry: { url, token: answer.token }, remarks: [] };
  const remark = `No token of the registry, going on without credentials: ${answer.problem}`;
  return { registry: { url, token: null }, remarks: [remark] };
}

async function mirrorOf(directory: string | null) {
  return directory === null ? null : { directory, providers: await mirroredProviders(directory) };
}
