import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { WorkspaceBusyError } from '../../errors.ts';
import { failingFiles, whileCallFails } from '../../faults/failing-files.fixture.ts';
import { clearLeftoverLock, takeSyncLock } from './sync-lock.ts';

vi.mock('node:fs/promises', async (load) => failingFiles(await load()));

function newWorkspace() {
  const workspaceDir = mkdtempSync(path.join(tmpdir(), 'iac-sync-lock-'));
  onTestFinished(() => rmSync(workspaceDir, { recursive: true, force: true }));
  const lock = path.join(workspaceDir, '.sync.lock');
  const waits: string[] = [];
  const take = (waitMs = 0) =>
    takeSyncLock({
      lockPath: lock,
      waitMs,
      signal: new AbortController().signal,
      onWait: (holder) => void waits.push(holder),
      onLost: () => undefined,
    });
  return { workspaceDir, lock, waits, take };
}

const DEAD = { pid: 4_194_303, startTicks: '1' };

/** Makes the lock of another process. Its owner file is our own, with the members of `change`. */
async function heldByAnother(change: object) {
  const workspace = newWorkspace();
  const release = await workspace.take();
  const owner = `${workspace.lock}.owner`;
  const written = JSON.parse(readFileSync(owner, 'utf8'));
  await release();
  mkdirSync(workspace.lock);
  const { dev, ino, birthtimeNs } = lstatSync(workspace.lock, { bigint: true });
  writeFileSync(owner, JSON.stringify({ ...written, folder: `${dev}:${ino}:${birthtimeNs}`, ...change }));
  return workspace;
}

/** Makes a lock that nobody renews, with a file in it. */
function abandoned() {
  const workspace = newWorkspace();
  mkdirSync(workspace.lock);
  writeFileSync(path.join(workspace.lock, 'stray'), '');
  utimesSync(workspace.lock, 0, 0);
  return workspace;
}

describe.each(['ENOSPC', 'EIO'])(
  'The workspace lock, when a call of the file system fails with %s',
  (code) => {
    it('is free again after any of its calls has failed once, and the next sync takes it at once', async () => {
      const { workspaceDir, lock, take } = newWorkspace();
      const failed: string[] = [];
      for (let call = 1; ; call += 1) {
        const fault = await whileCallFails({ call, code }, async () => {
          try {
            const release = await take();
            await release();
          } catch (error) {
            expect(error).toBeInstanceOf(WorkspaceBusyError);
            expect(String(error)).toContain(`${code}: `);
          }
        });
        expect([call, existsSync(lock)]).toEqual([call, false]);
        const release = await take();
        await release();
        expect([call, readdirSync(workspaceDir)]).toEqual([call, []]);
        if (fault === null) break;
        failed.push(fault.replace(workspaceDir, '.'));
      }
      expect(failed).toContain('writeFile ./.sync.lock.owner');
      expect(failed).toContain('rm ./.sync.lock.owner');
    });
  },
);

describe('F27: the owner of the workspace lock', () => {
  it.each([
    ['in another container, where process ids mean something else', { ...DEAD, space: 'boot pid:[1]' }],
    ['that does not say where its process id means something', { ...DEAD, space: undefined }],
    ['in a place that cannot be identified', { ...DEAD, space: null }],
  ])('%s is believed while it keeps the lock fresh', async (_what, change) => {
    const { take, lock, waits } = await heldByAnother(change);
    await clearLeftoverLock(lock);
    await expect(take()).rejects.toBeInstanceOf(WorkspaceBusyError);
    expect(existsSync(lock)).toBe(true);
    expect(waits).toEqual([expect.stringContaining('of another container or machine')]);
  });

  it('that ran here and has died leaves a lock that is taken at once', async () => {
    const { take, waits } = await heldByAnother(DEAD);
    const release = await take();
    expect(waits).toEqual([]);
    await release();
  });

  it('that runs here is named', async () => {
    const { take, waits } = await heldByAnother({});
    await expect(take()).rejects.toThrow(`is held by process ${process.pid}.`);
    expect(waits).toEqual([`process ${process.pid}`]);
  });
});

describe('F27: a file in the folder of the workspace lock', () => {
  it('is removed with the lock when its holder releases it', async () => {
    const { take, lock } = newWorkspace();
    const release = await take();
    writeFileSync(path.join(lock, 'stray'), '');
    await release();
    expect(existsSync(lock)).toBe(false);
  });
});

describe.each([
  ['is free', async () => newWorkspace()],
  ['was left by a process of here that is dead', () => heldByAnother(DEAD)],
  ['was left by somebody who has not renewed it for long', async () => abandoned()],
])('F27: a workspace lock that %s', (_what, leave) => {
  it('is taken by one of two processes, whenever the other one comes', async () => {
    for (let call = 1; ; call += 1) {
      const { take, lock, workspaceDir } = await leave();
      const taken: Array<() => Promise<void>> = [];
      const tryOnce = async () => {
        const release = await take().catch(() => null);
        if (release) taken.push(release);
      };
      const paused = await whileCallFails({ call, code: '', meanwhile: tryOnce }, tryOnce);
      expect([call, paused, taken.length, existsSync(lock)]).toEqual([call, paused, 1, true]);
      await taken[0]?.();
      expect(readdirSync(workspaceDir)).toEqual([]);
      if (paused === null) break;
    }
  });

  it('is taken by one of two processes after another one was killed at any of its calls, and no file is left', async () => {
    const killedAt = async (call: number): Promise<boolean> => {
      const { take, lock, workspaceDir } = await leave();
      const program = fileURLToPath(new URL('./sync-lock-taker.fixture.ts', import.meta.url));
      const taker = spawn(process.execPath, [program, workspaceDir, `${call}`], { stdio: 'inherit' });
      const [, signal] = await once(taker, 'exit');
      // A taker that was killed before it had written its name counts as dead after 30 s.
      if (existsSync(lock)) utimesSync(lock, 0, 0);
      await clearLeftoverLock(lock);
      let holders = 0;
      const work = async (): Promise<void> => {
        const release = await take(60_000);
        holders += 1;
        await setImmediate();
        expect([call, holders]).toEqual([call, 1]);
        holders -= 1;
        await release();
      };
      await Promise.all([work(), work()]);
      expect([call, readdirSync(workspaceDir)]).toEqual([call, []]);
      return signal === 'SIGKILL';
    };
    const killed = await Promise.all(Array.from({ length: 30 }, (_, before) => killedAt(before + 1)));
    // It has fewer calls than that.
    expect([killed[0], killed.at(-1)]).toEqual([true, false]);
  });
});

it('The files that earlier versions left beside a lock are removed at the start', async () => {
  const { workspaceDir, lock } = newWorkspace();
  for (const name of ['.sync.lock', '.sync.lock.owner'])
    mkdirSync(path.join(workspaceDir, `${name}.${randomUUID()}`));
  writeFileSync(path.join(workspaceDir, '.sync.lock.owner'), '');
  await clearLeftoverLock(lock);
  expect(readdirSync(workspaceDir)).toEqual([]);
});
