import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { stepFolderProblem } from './try-step-folder.ts';

it('stepFolderProblem names the problem and the number of this user, as not every user has a name', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'iac-step-folder-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  chmodSync(folder, 0o700);
  const problem = await stepFolderProblem('DEPLOY_DIR', folder, async () => 'cp: Permission denied');
  expect(problem).toContain(`below DEPLOY_DIR ${folder}: cp: Permission denied.`);
  expect(problem).toContain(`install -d -m 2750 -o ${process.geteuid?.()} -g`);
});
