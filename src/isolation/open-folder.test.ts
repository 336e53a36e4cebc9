import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createLocalExecutor } from '../executor/local.ts';
import { makeRunFolder, openRunFolder } from '../pipelines/run-folder.ts';
import { createStepUser, makeWorkFolder, removeFolder } from './open-folder.ts';
import { stepFolderProblem } from './try-step-folder.ts';

const stepUser = createStepUser(createLocalExecutor(), { PATH: process.env.PATH ?? '' });

/** Makes DEPLOY_DIR with this mode, and the folder of a run in it. */
function setUp(mode: number) {
  const root = mkdtempSync(path.join(tmpdir(), 'open-folder-'));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  const directory = path.join(root, 'deployments');
  mkdirSync(directory);
  chmodSync(directory, mode);
  const folder = path.join(directory, 'run');
  return { root, directory, folder, checkout: path.join(folder, 'checkout') };
}

async function fill(
  { folder, checkout }: { folder: string; checkout: string },
  user: typeof stepUser | null,
) {
  await makeRunFolder(folder, user);
  mkdirSync(path.join(checkout, 'sub'), { recursive: true, mode: 0o700 });
  writeFileSync(path.join(checkout, 'sub/file'), 'x', { mode: 0o600 });
  writeFileSync(path.join(checkout, 'sub/run'), 'x', { mode: 0o700 });
  symlinkSync('/etc/passwd', path.join(checkout, 'link'));
  await openRunFolder({ folder, checkout }, user);
  await makeWorkFolder(folder, 'home');
}

function modes(folder: string, names: readonly string[]): string[] {
  return names.map((name) => (lstatSync(path.join(folder, name)).mode & 0o7777).toString(8));
}

describe('The folder of a run', () => {
  it('is closed unless DEPLOY_DIR is open and another user runs the steps', async () => {
    for (const [mode, user] of [
      [0o700, stepUser],
      [0o755, stepUser],
      [0o2750, null],
    ] as const) {
      const place = setUp(mode);
      await fill(place, user);
      const [own = '', ...rest] = modes(place.folder, ['.', 'checkout/sub/file']);
      expect([own.slice(-3), ...rest]).toEqual(['700', '600']);
    }
  });

  it('is open to the group of DEPLOY_DIR if that is set-group-id, and only work folders can be changed', async () => {
    const place = setUp(0o2750);
    await fill(place, stepUser);
    const names = ['.', 'checkout', 'checkout/sub', 'checkout/sub/file', 'checkout/sub/run', 'home'];
    expect(modes(place.folder, names)).toEqual(['2750', '2770', '2770', '660', '770', '2770']);
    await removeFolder(place.folder, stepUser);
    expect(readdirSync(place.directory)).toEqual([]);
  });

  it('F43: is not made if others can change DEPLOY_DIR', async () => {
    for (const mode of [0o2770, 0o3770, 0o777]) {
      const place = setUp(mode);
      await expect(fill(place, stepUser)).rejects.toThrow('can be changed by others');
    }
  });

  it('F38: is removed without following links, by its user first, and files that the user leaves stay', async () => {
    const place = setUp(0o2750);
    const { root, folder, checkout } = place;
    await fill(place, stepUser);
    const precious = path.join(root, 'precious');
    mkdirSync(precious);
    writeFileSync(path.join(precious, 'file'), 'kept');
    symlinkSync(precious, path.join(checkout, 'sub/link'));
    await expect(removeFolder(folder, async () => 'the executor has ended')).rejects.toThrow(
      /checkout could not be emptied by the user of EXECUTOR_COMMAND/,
    );
    expect(existsSync(path.join(checkout, 'sub/file'))).toBe(true);
    chmodSync(path.join(checkout, 'sub'), 0o500);
    await removeFolder(folder, stepUser);
    expect(existsSync(folder)).toBe(false);
    expect(readFileSync(path.join(precious, 'file'), 'utf8')).toBe('kept');
    await removeFolder(folder, stepUser);
  });

  it('is tested before it is needed, and the test leaves nothing', async () => {
    for (const mode of [0o700, 0o2750]) {
      const { directory } = setUp(mode);
      expect(await stepFolderProblem('DEPLOY_DIR', directory, stepUser)).toBeNull();
      expect(readdirSync(directory)).toEqual([]);
      const nobody = await stepFolderProblem('DEPLOY_DIR', directory, async () => 'Permission denied');
      expect(nobody).toMatch(
        /^The user of EXECUTOR_COMMAND cannot work below DEPLOY_DIR .*: Permission denied\. /,
      );
      // The step runs on another host, which has a folder of that name, too.
      const elsewhere = await stepFolderProblem('DEPLOY_DIR', directory, async () => null);
      expect(elsewhere).toMatch(/what it makes cannot be read: ENOENT/);
      expect(readdirSync(directory)).toEqual([]);
    }
  });

  it('is not tested any longer after an abort', async () => {
    const { directory } = setUp(0o2750);
    const slow: typeof stepUser = (_argv, signal) => stepUser(['sleep', '600'], signal);
    const stopped = AbortSignal.timeout(300);
    expect(await stepFolderProblem('DEPLOY_DIR', directory, slow, stopped)).toMatch(
      /was ended before it was done/,
    );
    expect(readdirSync(directory)).toEqual([]);
  });
});
