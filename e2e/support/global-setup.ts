/** Builds the program and finds or installs the external programs once, before all end-to-end tests. */

import { readdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { execa } from 'execa';
import type { TestProject } from 'vitest/node';
import { type Chromium, obtainChromium } from './obtain-chromium.ts';
import { type Invoke, obtainInvoke } from './obtain-invoke.ts';
import { CLI } from './program.ts';
import { PROJECT_ROOT } from './project-root.ts';

const DIST = dirname(CLI);

declare module 'vitest' {
  interface ProvidedContext {
    invoke: Invoke;
    chromium: Chromium;
  }
}

export async function setup(project: TestProject): Promise<void> {
  const log = (line: string): void => console.log(line);
  const [invoke, chromium] = await Promise.all([obtainInvoke({ log }), obtainChromium(), build()]);
  log('missing' in invoke ? invoke.missing : `invoke: ${invoke.argv.join(' ')} (${invoke.how})`);
  log('missing' in chromium ? chromium.missing : `chromium: ${chromium.executable}`);
  project.provide('invoke', invoke);
  project.provide('chromium', chromium);
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
