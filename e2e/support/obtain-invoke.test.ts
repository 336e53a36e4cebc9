/** Finding or installing invoke, with small programs in place of uv, pip and apt-get. */

import { existsSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { obtainChromium } from './obtain-chromium.ts';
import { obtainInvoke } from './obtain-invoke.ts';
import { makeTemporaryFolder, removeFolder } from './temporary-folder.ts';

const log = (): void => {};

async function folderWith(programs: Record<string, string>): Promise<string> {
  const folder = await makeTemporaryFolder('programs');
  onTestFinished(() => removeFolder(folder));
  for (const [name, script] of Object.entries(programs)) {
    await writeFile(join(folder, name), `#!/bin/sh\n${script}\n`);
    await chmod(join(folder, name), 0o755);
  }
  return folder;
}

it('the first candidate whose --version really works wins', async () => {
  const folder = await folderWith({ shim: 'exit 127', other: 'echo Usage', good: 'echo Invoke 3.0.3' });
  const candidates = ['absent', 'shim', 'other', 'good', 'never'].map((name) => ({
    how: name,
    argv: [join(folder, name)],
  }));
  expect(await obtainInvoke({ log, candidates })).toEqual({ argv: [join(folder, 'good')], how: 'good' });
});

it('a candidate that hangs is given up, and the one line that says which command to run contains all problems', async () => {
  const folder = await folderWith({ hangs: 'sleep 60', broken: 'echo no network >&2; exit 2' });
  const candidates = [
    { how: 'hanging', argv: [join(folder, 'hangs')] },
    { how: 'broken', argv: ['invoke'], prepare: [[join(folder, 'broken')]] },
    { how: 'absent', argv: [join(folder, 'absent')] },
  ];
  const invoke = await obtainInvoke({ log, candidates, limitMs: 500 });
  expect(invoke).toEqual({
    missing:
      'invoke is missing. Type: pipx install invoke (tried hanging: no end after 0.5 s; broken: no network; absent: not found)',
  });
});

it('a virtual environment that could not be filled is removed, and an older one is kept', async () => {
  const folder = await folderWith({});
  const old = join(folder, 'old');
  await mkdir(old);
  const candidate = (makes: string) => ({
    how: makes,
    argv: ['invoke'],
    prepare: [
      ['mkdir', '-p', makes],
      ['sh', '-c', 'exit 1'],
    ],
    makes,
  });
  const fresh = join(folder, 'fresh');
  expect(await obtainInvoke({ log, candidates: [candidate(fresh), candidate(old)] })).toHaveProperty(
    'missing',
  );
  expect(existsSync(fresh)).toBe(false);
  expect(existsSync(old)).toBe(true);
});

it('a Chromium that does not start is not used', async () => {
  const folder = await folderWith({ wrapper: 'echo install the snap; exit 1', real: 'echo Chromium 156.0' });
  const wrapper = join(folder, 'wrapper');
  const real = join(folder, 'real');
  expect(await obtainChromium([wrapper, real])).toEqual({ executable: real });
  expect(await obtainChromium([wrapper])).toHaveProperty('missing');
});
