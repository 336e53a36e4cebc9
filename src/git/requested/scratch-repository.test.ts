import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createWorld, type World } from '../test-support.ts';
import { createScratchRepository, type ScratchRepository } from './scratch-repository.ts';

async function openScratch(world: World): Promise<ScratchRepository> {
  return createScratchRepository({
    git: world.git,
    directory: join(world.root, 'scratch'),
    objects: join(world.mirror.directory, 'objects'),
  });
}

/** A commit on a ref of its own, on top of the branch. */
async function propose(world: World, files: Record<string, string>, ref: string): Promise<string> {
  const base = await world.shell(['rev-parse', 'HEAD']);
  const head = await world.commit(files, 'Proposed');
  await world.shell(['push', '-q', 'origin', `HEAD:${ref}`]);
  await world.shell(['push', '-q', '--force', 'origin', `${base}:refs/heads/main`]);
  await world.shell(['reset', '-q', '--hard', base]);
  return head;
}

describe('A scratch repository', () => {
  it('fetches a ref or a commit, reads it with the rest, and keeps it out of the mirror', async () => {
    const world = await createWorld();
    await world.commit({ a: '1' });
    const head = await propose(world, { b: '1' }, 'refs/pull/7/head');
    const { head: base } = await world.mirror.fetch();
    const scratch = await openScratch(world);
    expect(await scratch.fetch('refs/pull/7/head')).toBe(head);
    expect(await scratch.fetch('refs/pull/8/head')).toBeNull();
    await world.shell(['--git-dir', world.remote, 'config', 'uploadpack.allowAnySHA1InWant', 'true']);
    expect(await scratch.fetch(head)).toBe(head);
    expect(await scratch.fetch('f'.repeat(40))).toBeNull();
    const reader = scratch.reader(head);
    expect(await reader.mergeBase(base, head)).toBe(base);
    expect(await reader.locate([base])).toEqual(new Map([[base, 'on_branch']]));
    expect(await world.mirror.locate([head])).toEqual(new Map([[head, 'missing']]));
    await scratch.remove();
    await expect(lstat(scratch.directory)).rejects.toThrow('ENOENT');
  });

  it('merges without a checkout, conflicts and strangers included', async () => {
    const world = await createWorld();
    await world.commit({ a: '1', b: '1' });
    const head = await propose(world, { b: '2' }, 'refs/pull/1/head');
    const other = await propose(world, { b: '3' }, 'refs/pull/2/head');
    await world.commit({ a: '2' });
    const { head: base } = await world.mirror.fetch();
    const scratch = await openScratch(world);
    await scratch.fetch('refs/pull/1/head');
    const merged = await scratch.merge(base, head);
    expect(merged.conflicts).toBe(false);
    const files = await scratch.reader(merged.commit).listTree(merged.commit);
    const contents = await scratch.reader(merged.commit).blobs(files.map(({ id }) => id));
    expect(files.map(({ path, id }) => [path, contents.get(id)?.toString()])).toEqual([
      ['a', '2'],
      ['b', '2'],
    ]);
    await scratch.fetch('refs/pull/2/head');
    expect((await scratch.merge(merged.commit, other)).conflicts).toBe(true);
    const stranger = await world.shell(['commit-tree', `${head}^{tree}`, '-m', 'From elsewhere']);
    await world.shell(['push', '-q', 'origin', `${stranger}:refs/pull/3/head`]);
    await scratch.fetch('refs/pull/3/head');
    expect(await scratch.reader(stranger).mergeBase(base, stranger)).toBeNull();
    expect((await scratch.merge(base, stranger)).conflicts).toBe(true);
  });

  it('fails with a GitError when the remote cannot be reached', async () => {
    const world = await createWorld({ url: () => '/nowhere/at/all' });
    const scratch = await openScratch(world);
    await expect(scratch.fetch('refs/pull/1/head')).rejects.toMatchObject({ kind: 'unavailable' });
  });
});
