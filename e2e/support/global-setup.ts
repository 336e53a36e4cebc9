/** Builds the program, prepares the example platform, and finds or installs other programs, once before all tests. */

import { readdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { execa } from 'execa';
import type { TestProject } from 'vitest/node';
import { type Chromium, obtainChromium } from './obtain-chromium.ts';
import { type Invoke, obtainInvoke } from './obtain-invoke.ts';
import { preparePlatformRepository } from './platform-repository.ts';
import { CLI } from './program.ts';
import { PROJECT_ROOT } from './project-root.ts';
import { makeTemporaryFolder, removeFolder } from './temporary-folder.ts';

const DIST = dirname(CLI);

declare module 'vitest' {
  interface ProvidedContext {
    invoke: Invoke;
    chromium: Chromium;
  }
}

/** Returns what removes its folder. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const log = (line: string): void => console.log(line);
  const platform = await makeTemporaryFolder('platform');
  const [invoke, chromium] = await Promise.all([
    obtainInvoke({ log }),
    obtainChromium(),
    build(),
    preparePlatformRepository(platform),
  ]);
  log('missing' in invoke ? invoke.missing : `invoke: ${invoke.argv.join(' ')} (${invoke.how})`);
  log('missing' in chromium ? chromium.missing : `chromium: ${chromium.executable}`);
  project.provide('invoke', invoke);
  project.provide('chromium', chromium);
  return () => removeFolder(platform);
}

async function build(): Promise<void> {
  await execa(process.execPath, ['bin/build.ts'], { cwd: PROJECT_ROOT });
  await fillCompileCache();
}

/** Node writes this cache when it exits by itself, so servers that tests kill would never fill it. */
async function fillCompileCache(): Promise<void> {
  const parts = (await readdir(DIST)).filter((name) => name.endsWith('.js') && name !== 'cli.js');
  const imports = parts.map((name) => `await import('./${name}');`).join('\n');
  await execa(process.execPath, ['--input-type=module', '--eval', imports], { cwd: DIST });
}
