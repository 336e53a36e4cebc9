import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { runProcess } from '../../process/run-process.ts';
import { createJobFolders } from './job-folders.ts';

async function setUp(cleanUp = true) {
  const root = await mkdtemp(join(tmpdir(), 'job-folders-'));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  const [checkouts, scratch] = [join(root, 'repobox'), join(root, 'scratch')];
  return { checkouts, scratch, folders: createJobFolders({ checkouts, scratch, cleanUp, stepUser: null }) };
}

describe('The folders of jobs', () => {
  it('are named by the job, and gone after it', async () => {
    const { checkouts, scratch, folders } = await setUp();
    const folder = await folders.claim('job-1');
    expect(folder.checkout).toBe(join(checkouts, 'job-1'));
    await mkdir(folder.checkout);
    await folder.release();
    expect([await readdir(checkouts), await readdir(scratch)]).toEqual([[], []]);
  });

  it('keep the checkout when told to', async () => {
    const { checkouts, folders } = await setUp(false);
    const folder = await folders.claim('job-1');
    await mkdir(folder.checkout);
    await folder.release();
    expect(await readdir(checkouts)).toEqual(['job-1']);
    expect((await folders.claim('job-1')).checkout).toMatch(/job-1\.[0-9a-f]{8}$/);
  });

  it('F50: a worker that wakes too late removes its own, not those of who took its job', async () => {
    const { folders } = await setUp();
    const late = await folders.claim('job-1');
    await mkdir(late.checkout);
    const now = await folders.claim('job-1');
    expect(now.checkout).not.toBe(late.checkout);
    await mkdir(now.checkout);
    await writeFile(join(now.scratch, 'HEAD'), 'x');
    await late.release();
    expect([await readdir(now.checkout), await readdir(now.scratch)]).toEqual([[], ['HEAD']]);
  });

  it('F30: of a dead worker go with the processes in them, unless somebody holds the job', async () => {
    const { checkouts, scratch, folders } = await setUp();
    const [dead, held] = [await folders.claim('dead'), await folders.claim('held')];
    for (const { checkout } of [dead, held]) await mkdir(checkout);
    await mkdir(join(checkouts, 'of-somebody-else'));
    const started = Promise.withResolvers<unknown>();
    const agent = runProcess(
      {
        argv: ['sleep', '600'],
        cwd: dead.checkout,
        env: { PATH: '/usr/bin:/bin', ...dead.environment },
        timeoutMs: 60_000,
      },
      { onStart: started.resolve, onLines() {} },
    );
    await started.promise;
    await folders.sweep(async (jobIds) => {
      expect(jobIds.sort()).toEqual(['dead', 'held']);
      return new Set(['held']);
    });
    expect(await agent).toMatchObject({ kind: 'killed' });
    expect((await readdir(checkouts)).sort()).toEqual(['held', 'of-somebody-else']);
    expect(await readdir(scratch)).toEqual(['held.git']);
  });
});
