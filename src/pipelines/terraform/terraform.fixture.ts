/** A real terraform in its own folder, and providers that only record that they were started. */

import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { onTestFinished, type TestContext } from 'vitest';
import { loadPlumbing } from '../../config.ts';
import { captureProcess } from '../../process/capture.ts';
import { toolEnvironment } from './environment.ts';
import { type CliConfig, writeCliConfig } from './install/cli-config.ts';
import { findTool } from './install/tools.ts';

const { PATH = '' } = loadPlumbing();
export const SYSTEM = `${process.platform}_${process.arch === 'x64' ? 'amd64' : process.arch}`;

/** Returns the path of terraform. Skips the test if it is not installed. */
export async function terraformOrSkip(context: TestContext): Promise<string> {
  const found = await findTool({ path: PATH, toolsDir: null }, 'terraform', null);
  if (!found.ok) return context.skip('terraform is not installed');
  return found.program;
}

export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'iac-tf-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Writes files, and makes those executable that begin with `#!`. */
export function writeTree(folder: string, files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(folder, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
    if (text.startsWith('#!')) chmodSync(file, 0o755);
  }
}

export const NO_LIMITS: CliConfig = { registry: null, mirror: null, repositoryProviders: true };

export interface Place {
  /** The root module. */
  root: string;
  env: Record<string, string>;
}

/** Creates a folder like that of a run, with an empty root module. */
export async function makePlace(config: CliConfig, requested: Record<string, string> = {}): Promise<Place> {
  const folder = temporaryFolder();
  const inFolder = (name: string): string => path.join(folder, name);
  for (const name of ['root', 'home', 'tmp']) mkdirSync(inFolder(name));
  const cliConfigFile = inFolder('cli.tfrc');
  await writeCliConfig(cliConfigFile, config);
  const env = toolEnvironment({
    runId: 'run-1',
    home: inFolder('home'),
    tempDir: inFolder('tmp'),
    dataDir: inFolder('data'),
    cliConfigFile,
    plumbing: { PATH },
    requested,
    gitProtocols: ['https', 'ssh'],
  });
  return { root: inFolder('root'), env };
}

/** Runs terraform. Resolves to its exit code, and its whole output on one line. */
export async function terraform(
  { root, env }: Place,
  ...args: string[]
): Promise<{ exitCode: number; output: string }> {
  const result = await captureProcess({ argv: ['terraform', ...args], cwd: root, env, timeoutMs: 60_000 });
  if (result.kind !== 'exited') throw new Error(`terraform ${args[0]} ended as ${result.kind}.`);
  const { exitCode, stdout, stderr } = result;
  return { exitCode, output: `${stdout}${stderr}`.replace(/\s*\n[│ ]*/g, ' ') };
}

/** A root module that needs the provider `acme/box`, which terraform starts during a plan. */
export const NEEDS_BOX = {
  'main.tf': `terraform {
  required_providers {
    box = {
      source = "example.com/acme/box"
    }
  }
}
provider "box" {
}
data "box_thing" "x" {
}
`,
};

export const BOX = `example.com/acme/box/1.0.0/${SYSTEM}/terraform-provider-box_v1.0.0`;

/** A plugin that writes its path to the file `canary` when it is started. */
export function plugin(canary: string): string {
  return `#!/bin/sh\necho "$0" >> ${canary}\n`;
}

/** A mirror with the packed provider `acme/box`, whose program is sleep(1). */
export async function packedMirror(): Promise<{ directory: string; providers: string[]; zip: string }> {
  const directory = temporaryFolder();
  const packages = path.join(directory, 'example.com/acme/box');
  const program = path.join(temporaryFolder(), 'terraform-provider-box_v1.0.0');
  copyFileSync('/bin/sleep', program);
  chmodSync(program, 0o755);
  mkdirSync(packages, { recursive: true });
  const zip = path.join(packages, `terraform-provider-box_1.0.0_${SYSTEM}.zip`);
  await captureProcess({
    argv: ['python3', '-m', 'zipfile', '-c', zip, path.basename(program)],
    cwd: path.dirname(program),
    env: { PATH },
    timeoutMs: 30_000,
  });
  if (!existsSync(zip)) throw new Error(`python3 did not make ${zip}.`);
  return { directory, providers: ['example.com/acme/box'], zip };
}
