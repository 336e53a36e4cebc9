import { chmod, mkdir, mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createLocalExecutor } from '../../executor/local.ts';
import { createStepUser } from '../../isolation/open-folder.ts';
import { runProcess } from '../../process/run-process.ts';
import { createJobFolders } from './job-folders.ts';

const somebody = createStepUser(createLocalExecutor(), { PATH: process.env.PATH ?? '' });

const attemptAt = (id: string, attempt = 1) => ({ id, attempt });

/** The job still belongs to the worker. */
const ours = () => Promise.resolve();

async function setUp(cleanUp = true, stepUser: typeof somebody | null = null) {
  const root = await mkdtemp(join(tmpdir(), 'job-folders-'));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  const [checkouts, scratch] = [join(root, 'repobox'), join(root, 'scratch')];
  return { checkouts, scratch, folders: createJobFolders({ checkouts, scratch, cleanUp, stepUser }) };
}

describe('The folders of jobs', () => {
  it('are named after the job, and removed after it', async () => {
    const { checkouts, scratch, folders } = await setUp();
    const folder = await folders.claim(attemptAt('job-1'), ours);
    expect(folder.checkout).toBe(join(checkouts, 'job-1'));
    await mkdir(folder.checkout);
    await folder.release();
    expect([await readdir(checkouts), await readdir(scratch)]).toEqual([[], []]);
  });

  it('keep the checkout if cleaning up is off', async () => {
    const { checkouts, folders } = await setUp(false);
    const folder = await folders.claim(attemptAt('job-1'), ours);
    await mkdir(folder.checkout);
    await folder.release();
    expect(await readdir(checkouts)).toEqual(['job-1']);
    expect((await folders.claim(attemptAt('job-1'), ours)).checkout).toMatch(/job-1\.[0-9a-f]{8}$/);
  });

  it('F50: a worker that wakes too late removes its own folders, not those of the worker that took its job', async () => {
    const { folders } = await setUp();
    const late = await folders.claim(attemptAt('job-1'), ours);
    await mkdir(late.checkout);
    const now = await folders.claim(attemptAt('job-1'), ours);
    expect(now.checkout).not.toBe(late.checkout);
    await mkdir(now.checkout);
    await writeFile(join(now.scratch, 'HEAD'), 'x');
    await late.release();
    expect([await readdir(now.checkout), await readdir(now.scratch)]).toEqual([[], ['HEAD']]);
  });

  it('F50: a worker that wakes after its folder was removed removes nothing of a later attempt', async () => {
    const { checkouts, folders } = await setUp();
    const late = await folders.claim(attemptAt('job-1'), ours);
    await folders.sweep(async () => new Set());
    const now = await folders.claim(attemptAt('job-1', 2), ours);
    await mkdir(now.checkout);
    await late.release();
    expect(await readdir(checkouts)).toHaveLength(1);
    expect(await readdir(now.scratch)).toEqual([]);
  });

  it('F50: a worker that wakes too late clears no folder of the worker that took its job', async () => {
    const { folders } = await setUp();
    const now = await folders.claim(attemptAt('job-1'), ours);
    await mkdir(now.checkout);
    await writeFile(join(now.scratch, 'HEAD'), 'x');
    const lost = new Error('The job is not ours.');
    await expect(folders.claim(attemptAt('job-1'), () => Promise.reject(lost))).rejects.toBe(lost);
    expect([await readdir(now.checkout), await readdir(now.scratch)]).toEqual([[], ['HEAD']]);
  });

  it('F30: of a dead worker are removed with the processes in them, unless somebody holds the job', async () => {
    const { checkouts, scratch, folders } = await setUp();
    const [dead, held] = [
      await folders.claim(attemptAt('dead'), ours),
      await folders.claim(attemptAt('held'), ours),
    ];
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

  it('F40c: an agent that leaves more than may be copied fails its job at once, and fills no disk', async () => {
    const { checkouts, scratch, folders } = await setUp(true, somebody);
    await mkdir(checkouts);
    await chmod(checkouts, 0o2750);
    const folder = await folders.claim(attemptAt('job-1'), ours);
    await mkdir(folder.checkout, { mode: 0o2700 });
    await writeFile(join(folder.checkout, 'small'), 'x');
    await folder.open();
    const { signal } = new AbortController();
    const hole = join(folder.checkout, 'hole');
    await writeFile(hole, '');
    await truncate(hole, 10 * 1024 ** 4);
    await expect(folder.takeBack(signal)).rejects.toThrow('larger than 4 GiB');
    await rm(hole);
    await expect(folder.takeBack(AbortSignal.abort(new Error('cancelled')))).rejects.toThrow('cancelled');
    expect(await readdir(await folder.takeBack(signal))).toEqual(['small']);
    await folder.release();
    expect([await readdir(checkouts), await readdir(scratch)]).toEqual([[], []]);
  });
});
