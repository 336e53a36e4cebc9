import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GitError } from '../errors.ts';
import { requireFreeSpace } from './disk-space.ts';
import { createMirror } from './own/mirror.ts';
import { createWorkspace } from './own/workspace.ts';
import { createWorld, temporaryDirectory } from './test-support.ts';

const MORE_THAN_THERE_IS = 2 ** 60;

describe('F17: the floor of free space', () => {
  it('accepts folders with enough space, also those that do not exist yet', async () => {
    const directory = await temporaryDirectory();
    const directories = [directory, join(directory, 'not/made/yet')];
    await expect(requireFreeSpace({ directories, floorBytes: 1 })).resolves.toBeUndefined();
    await expect(requireFreeSpace({ directories, floorBytes: 0 })).resolves.toBeUndefined();
  });

  it('is reported with the directory, its free space and the next action', async () => {
    const directory = await temporaryDirectory();
    const floor = requireFreeSpace({ directories: [directory], floorBytes: MORE_THAN_THERE_IS });
    await expect(floor).rejects.toThrow(GitError);
    await expect(floor).rejects.toMatchObject({
      kind: 'disk_full',
      message: expect.stringMatching(
        new RegExp(`^\\d+ MiB are free at ${directory}, less than the \\d+ kept`),
      ),
      nextAction: expect.stringContaining('DISK_FLOOR_MB'),
    });
  });

  it('stops a mirror and a workspace before they write', async () => {
    const world = await createWorld();
    const head = await world.commit({ a: '1' });
    let floorBytes = MORE_THAN_THERE_IS;
    const requireSpace = () => requireFreeSpace({ directories: [world.root], floorBytes });
    const directory = join(world.root, 'scarce/mirror.git');
    const mirror = createMirror({
      git: world.git,
      directory,
      followed: { branch: 'main' },
      log: { warn() {} },
      requireSpace,
    });
    const place = join(world.root, 'scarce-work');
    const workspace = createWorkspace({ git: world.git, mirror, directory: place, requireSpace });
    await expect(mirror.fetch()).rejects.toMatchObject({ kind: 'disk_full' });
    await expect(mirror.rebuild()).rejects.toMatchObject({ kind: 'disk_full' });
    await expect(workspace.moveTo(head)).rejects.toMatchObject({ kind: 'disk_full' });
    expect(await readdir(join(world.root, 'scarce'))).toEqual([]);
    expect(await readdir(world.root)).not.toContain('scarce-work');
    floorBytes = 1;
    expect(await mirror.fetch()).toEqual({ head });
    await workspace.moveTo(head);
    expect(await readdir(place)).toContain('a');
  });
});
