/** Finds the installed versions of Terraform and OpenTofu. */

import { readdir, realpath } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import type { Executor } from '../../../executor/executor.ts';
import { parseJson } from '../../../parse-json.ts';
import { findProgram, isProgram } from '../../../process/find-program.ts';
import { TOOLS, type Tool } from '../../../runs/deployments/deployment.ts';

export interface ToolPlaces {
  /** The PATH of the operator. */
  path: string;
  /** The folder that contains `<tool>/<version>/<tool>`, or null. */
  toolsDir: string | null;
}

interface InstalledTool {
  tool: Tool;
  /** The folder's name, or null for the tool on the PATH. */
  version: string | null;
  /** The program, absolute. */
  program: string;
}

type FoundTool = { ok: true; program: string } | { ok: false; problem: string };

/** This pattern also excludes paths. */
const VERSION = /^[0-9][0-9A-Za-z.+-]{0,63}$/;
const CHECK_TIMEOUT_MS = 20_000;

/** A version of null means the tool on the PATH. The problem is one sentence and lists the installed versions. */
export async function findTool(places: ToolPlaces, tool: Tool, version: string | null): Promise<FoundTool> {
  if (version === null) {
    const program = await findProgram(places.path, tool);
    if (program !== null) return { ok: true, program };
    return { ok: false, problem: `${tool} is not on the PATH of the server. ${await choice(places, tool)}` };
  }
  const program = VERSION.test(version) ? await inToolsDir(places.toolsDir, tool, version) : null;
  if (program !== null) return { ok: true, program };
  return {
    ok: false,
    problem: `${tool} ${JSON.stringify(version.slice(0, 64))} is not installed. ${await choice(places, tool)}`,
  };
}

/**
 * Returns the wanted version if it is installed. Otherwise returns the tool on the PATH, or else the newest version, with
 * a remark that says so. If the tool is not installed at all, returns the wanted version, which `findTool` then reports.
 */
export async function versionThere(
  places: ToolPlaces,
  { tool, toolVersion }: { tool: Tool; toolVersion: string | null },
): Promise<{ version: string | null; remark: string | null }> {
  if ((await findTool(places, tool, toolVersion)).ok) return { version: toolVersion, remark: null };
  const others = (await listTools(places)).filter((one) => one.tool === tool);
  const other = others.find(({ version }) => version === null) ?? others.at(-1);
  if (other === undefined) return { version: toolVersion, remark: null };
  const wanted =
    toolVersion === null ? `${tool} is not on the PATH` : `${tool} ${toolVersion} is not installed`;
  const used = other.version === null ? `the ${tool} on the PATH` : `${tool} ${other.version}`;
  return { version: other.version, remark: `${wanted} on the server: planned with ${used}` };
}

/** All installed tools: for each tool the one on the PATH first, then its versions in ascending order. */
export async function listTools(places: ToolPlaces): Promise<InstalledTool[]> {
  const lists = await Promise.all(
    TOOLS.map(async (tool): Promise<InstalledTool[]> => {
      const program = await findProgram(places.path, tool);
      const first = program === null ? [] : [{ tool, version: null, program }];
      return [...first, ...(await versionsOf(places.toolsDir, tool))];
    }),
  );
  return lists.flat();
}

const versionSchema = z.object({ terraform_version: z.string() });

/** Asks the program for its version. It is a problem if the version is not that of its folder. */
export async function checkTool(
  executor: Pick<Executor, 'capture'>,
  { program, version }: InstalledTool,
): Promise<{ ok: true; version: string } | { ok: false; problem: string }> {
  const result = await executor.capture({
    argv: [program, 'version', '-json'],
    cwd: '/',
    env: {
      PATH: '/usr/bin:/bin',
      HOME: '/nonexistent',
      CHECKPOINT_DISABLE: '1',
      TF_CLI_CONFIG_FILE: '/dev/null',
    },
    timeoutMs: CHECK_TIMEOUT_MS,
    signal: new AbortController().signal,
  });
  if (result.kind === 'failed') return { ok: false, problem: result.problem };
  if (result.exitCode !== 0)
    return { ok: false, problem: `version -json ended with exit code ${result.exitCode}` };
  const said = versionSchema.safeParse(parseJson(result.stdout.unmasked)).data?.terraform_version;
  if (said === undefined) return { ok: false, problem: 'version -json printed no version' };
  if (version !== null && said !== version)
    return { ok: false, problem: `it says that it is ${result.stdout.mask(said)}` };
  return { ok: true, version: said };
}

async function choice({ toolsDir }: ToolPlaces, tool: Tool): Promise<string> {
  if (toolsDir === null) return 'TOOLS_DIR is not set, so there are no versions to choose from.';
  const versions = (await versionsOf(toolsDir, tool)).map(({ version }) => version);
  return versions.length > 0 ? `Installed: ${versions.join(', ')}.` : `No version of ${tool} is installed.`;
}

async function versionsOf(toolsDir: string | null, tool: Tool): Promise<InstalledTool[]> {
  if (toolsDir === null) return [];
  const names = await readdir(path.join(toolsDir, tool)).catch(() => []);
  const sorted = names
    .filter((name) => VERSION.test(name))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  const found = await Promise.all(
    sorted.map(async (version) => ({ tool, version, program: await inToolsDir(toolsDir, tool, version) })),
  );
  return found.flatMap(({ program, ...rest }) => (program === null ? [] : [{ ...rest, program }]));
}

/** The real path. Returns null if there is no such program, or if a link leads out of `toolsDir`. */
async function inToolsDir(toolsDir: string | null, tool: Tool, version: string): Promise<string | null> {
  if (toolsDir === null) return null;
  try {
    const program = await realpath(path.join(toolsDir, tool, version, tool));
    const inside = program.startsWith(`${await realpath(toolsDir)}${path.sep}`);
    return inside && (await isProgram(program)) ? program : null;
  } catch {
    return null;
  }
}
