/** The demo as a child process without a terminal: it shows its steps, and it cleans up however it ends. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { beforeEach, expect, it, onTestFinished } from 'vitest';
import { PEOPLE } from '../examples/demo/settings.ts';
import { obtainedInvoke } from './support/obtained.ts';
import { killProcessesMentioning, processesMentioning } from './support/processes.ts';
import { PROJECT_ROOT } from './support/project-root.ts';
import { API_TOKENS, WEBHOOK_SECRET } from './support/runner-environment.ts';
import { makeTemporaryFolder, removeFolder } from './support/temporary-folder.ts';
import { PATIENCE_MS, until } from './support/until.ts';

let folder: string;

beforeEach(async () => {
  obtainedInvoke();
  folder = await makeTemporaryFolder('demo-test');
  onTestFinished(async () => {
    await killProcessesMentioning(folder);
    await removeFolder(folder);
  });
});

function startDemo() {
  const demo = execa(process.execPath, [join(PROJECT_ROOT, 'examples/demo.ts')], {
    // The demo creates everything in this folder, and everything that it starts names the folder.
    env: { TMPDIR: folder },
    stdin: 'ignore',
    reject: false,
    timeout: PATIENCE_MS,
  });
  let said = '';
  demo.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const reaches = (text: string) => until(`the demo to print ${text}`, () => said.includes(text) || null);
  return { demo, reaches };
}

async function expectNothingLeft(): Promise<void> {
  expect(await readdir(folder)).toEqual([]);
  expect(await processesMentioning(folder)).toEqual([]);
}

it('The demo shows its whole story and exits with 0, leaving nothing behind', async () => {
  const { exitCode, stdout, stderr } = await startDemo().demo;
  expect(stderr).toBe('');
  expect(exitCode).toBe(0);
  const milestones = [
    '12 service(s) synced successfully',
    'accepted: finance_report/app, platform/redis',
    'platform/redis: Files in platform/01.redis changed since',
    '✓ platform/redis: updated',
    'success: 2 service(s) synced successfully',
    '✗ platform/minio: compose.yaml names no image',
    'failure: 1/2 service(s) failed to sync',
    'platform/minio: Its last sync, at',
    'success: 1 service(s) synced successfully',
    'No services required sync',
    'iac-runner promote production',
    '403: ada asked for it, and somebody else has to decide about it',
    'grace approves',
    'IaC Runner / Sync (staging): success',
    'IaC Runner / Sync (production): success, 12 service(s) synced successfully',
    '/runs/',
  ];
  const places = milestones.map((milestone) => stdout.indexOf(milestone));
  expect(places).not.toContain(-1);
  expect(places).toEqual(places.toSorted((a, b) => a - b));
  expect(stdout.split('\n').length).toBeLessThan(110);
  expect(stdout).not.toContain('\u001b');
  for (const secret of [WEBHOOK_SECRET, ...Object.values({ ...API_TOKENS, ...PEOPLE })])
    expect(stdout).not.toContain(secret);
  await expectNothingLeft();
});

it('The demo cleans up when it is interrupted', async () => {
  const { demo, reaches } = startDemo();
  await reaches('2. A push');
  demo.kill('SIGTERM');
  expect((await demo).exitCode).toBe(130);
  await expectNothingLeft();
});

it('The demo fails with the log of the runner when the runner dies', async () => {
  const { demo, reaches } = startDemo();
  await reaches('2. A push');
  const found = await processesMentioning(folder);
  const runner = found.find(({ command }) => command.includes('cli.js serve'));
  if (!runner) throw new Error(`There is no runner among ${JSON.stringify(found)}.`);
  process.kill(runner.pid, 'SIGKILL');
  const { exitCode, stderr } = await demo;
  expect(exitCode).toBe(1);
  expect(stderr).toContain('The demo met a surprise');
  expect(stderr).toContain('"msg":"listening"');
  await expectNothingLeft();
});
