/** Finds or installs the external programs once, before all end-to-end tests, and provides them to the tests. */

import { execa } from 'execa';
import type { TestProject } from 'vitest/node';
import { type Chromium, obtainChromium } from './obtain-chromium.ts';
import { type Invoke, obtainInvoke } from './obtain-invoke.ts';
import { PROJECT_ROOT } from './project-root.ts';

declare module 'vitest' {
  interface ProvidedContext {
    invoke: Invoke;
    chromium: Chromium;
  }
}

export async function setup(project: TestProject): Promise<void> {
  const log = (line: string): void => console.log(line);
  const [invoke, chromium] = await Promise.all([obtainInvoke({ log }), obtainChromium(), fillCompileCache()]);
  log('missing' in invoke ? invoke.missing : `invoke: ${invoke.argv.join(' ')} (${invoke.how})`);
  log('missing' in chromium ? chromium.missing : `chromium: ${chromium.executable}`);
  project.provide('invoke', invoke);
  project.provide('chromium', chromium);
}

/** Node writes this cache when it exits by itself. */
async function fillCompileCache(): Promise<void> {
  const imports = ['wiring/server', 'commands/serve', 'commands/worker', 'commands/sync']
    .map((name) => `await import('./src/${name}.ts');`)
    .join('\n');
  await execa(process.execPath, ['--input-type=module', '--eval', imports], { cwd: PROJECT_ROOT });
}
