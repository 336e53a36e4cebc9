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
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { WorkspaceBusyError } from '../errors.ts';
import { failingFiles, whileCallFails } from '../faults/failing-files.fixture.ts';
import { clearLeftoverLock, takeSyncLock } from './sync-lock.ts';

vi.mock('node:fs/promises', async (load) => failingFiles(await load()));

function newWorkspace() {
  const workspaceDir = mkdtempSync(path.join(tmpdir(), 'iac-sync-lock-'));
  onTestFinished(() => rmSync(workspaceDir, { recursive: true, force: true }));
  const lock = path.join(workspaceDir, '.sync.lock');
  const waits: string[] = [];
  const take = () =>
    takeSyncLock({
      workspaceDir,
      waitMs: 0,
      signal: new AbortController().signal,
      onWait: (holder) => void waits.push(holder),
      onLost: () => undefined,
    });
  return { workspaceDir, lock, waits, take };
}

describe.each(['ENOSPC', 'EIO'])(
  'The workspace lock, when a call of the file system fails with %s',
  (code) => {
    it('is free again after each of its calls has failed once, and the next sync takes it at once', async () => {
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
        if (fault === null) break;
        failed.push(fault.replace(workspaceDir, '.'));
      }
      expect(failed).toContain('writeFile ./.sync.lock.owner');
      expect(failed).toContain('rm ./.sync.lock.owner');
    });
  },
);

describe('F27: the owner of the workspace lock', () => {
  /** The lock as another one left it, or holds it: what it wrote, changed by `change`. */
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

  const DEAD = { pid: 4_194_303, startTicks: '1' };

  it.each([
    ['in another container, where process ids mean something else', { ...DEAD, space: 'boot pid:[1]' }],
    ['that does not say where its process id means something', { ...DEAD, space: undefined }],
    ['in a place that cannot be told', { ...DEAD, space: null }],
  ])('%s is believed while it keeps the lock fresh', async (_what, change) => {
    const { take, lock, waits, workspaceDir } = await heldByAnother(change);
    await clearLeftoverLock(workspaceDir);
    await expect(take()).rejects.toBeInstanceOf(WorkspaceBusyError);
    expect(existsSync(lock)).toBe(true);
    expect(waits).toEqual([expect.stringContaining('of another container or machine')]);
  });

  it('that ran here and is dead leaves a lock that is taken at once', async () => {
    const { take, waits } = await heldByAnother(DEAD);
    const release = await take();
    expect(waits).toEqual([]);
    await release();
  });

  it('that ran here and is dead leaves a lock that one of two gets, whenever the other one comes', async () => {
    for (let call = 1; ; call += 1) {
      const { take, lock, workspaceDir } = await heldByAnother(DEAD);
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

  it('that runs here is named', async () => {
    const { take, waits } = await heldByAnother({});
    await expect(take()).rejects.toThrow(`is held by process ${process.pid}.`);
    expect(waits).toEqual([`process ${process.pid}`]);
  });
});

describe('F27: something that was left in the folder of the workspace lock', () => {
  it('goes with the lock when its holder lets go', async () => {
    const { take, lock } = newWorkspace();
    const release = await take();
    writeFileSync(path.join(lock, 'stray'), '');
    await release();
    expect(existsSync(lock)).toBe(false);
  });

  it('does not keep a lock that nobody renews', async () => {
    const { take, lock } = newWorkspace();
    mkdirSync(lock);
    writeFileSync(path.join(lock, 'stray'), '');
    utimesSync(lock, 0, 0);
    await take().catch(() => undefined);
    const release = await take();
    await release();
  });
});
