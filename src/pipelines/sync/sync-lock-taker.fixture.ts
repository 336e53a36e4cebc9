/** A process that takes the lock of a workspace and lets it go, and is killed at one of its calls of the file system. */

import fs from 'node:fs';
import files from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { failingFiles, whileCallFails } from '../../faults/failing-files.fixture.ts';

const [workspaceDir = '', call = ''] = process.argv.slice(2);
Object.assign(files, failingFiles({ ...files }));
// Those that proper-lockfile calls.
const { mkdir, stat, utimes } = fs;
Object.assign(fs, failingFiles({ mkdir, stat, utimes }));
syncBuiltinESMExports();
const { takeSyncLock } = await import('./sync-lock.ts');

const die = (): Promise<never> => {
  process.kill(process.pid, 'SIGKILL');
  return new Promise(() => {});
};
await whileCallFails({ call: Number(call), code: '', below: workspaceDir, meanwhile: die }, async () => {
  const { signal } = new AbortController();
  const release = await takeSyncLock({
    lockPath: `${workspaceDir}/.sync.lock`,
    waitMs: 0,
    signal,
    onWait() {},
    onLost() {},
  });
  await release();
});
