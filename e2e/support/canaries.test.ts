/** The search for canaries in a folder whose files change meanwhile. */

import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { canariesInFiles, watchCanaries } from './canaries.ts';
import { makeTemporaryFolder, removeFolder } from './temporary-folder.ts';

/** Creates a folder with a canary in a file. `change` is called once, as soon as the search has seen the first name. */
async function searchDuring(change: (folder: string) => void): Promise<string[]> {
  const folder = await makeTemporaryFolder('canaries');
  onTestFinished(() => removeFolder(folder));
  mkdirSync(join(folder, 'deep'));
  writeFileSync(join(folder, 'deep/file'), 'a secret-CANARY in the middle');
  const canaries = watchCanaries({ secret: 'secret-CANARY' });
  let isChanged = false;
  const found = await canariesInFiles(folder, {
    seenIn(content) {
      if (!isChanged) change(folder);
      isChanged = true;
      return canaries.seenIn(content);
    },
  });
  return found.map((line) => line.slice(folder.length + 1));
}

it('A search finds a canary in a file of a folder', async () => {
  expect(await searchDuring(() => undefined)).toContain('deep/file: secret (raw)');
});

it('A search finds a canary in a folder that is renamed meanwhile', async () => {
  const found = await searchDuring((folder) => renameSync(join(folder, 'deep'), join(folder, 'moved')));
  expect(found).toContain('moved/file: secret (raw)');
});

it('A search ignores a folder that is removed meanwhile', async () => {
  expect(await searchDuring((folder) => rmSync(join(folder, 'deep'), { recursive: true }))).toEqual([]);
});

it('A search in a folder that does not exist fails', async () => {
  await expect(canariesInFiles('/nonexistent', watchCanaries({}))).rejects.toThrow(/ENOENT/);
});
