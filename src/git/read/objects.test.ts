import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { inRepository } from '../git.ts';
import { createWorld } from '../test-support.ts';
import { filesIn } from './objects.ts';

describe('filesIn', () => {
  it('finds the named entries of many trees, with their modes and ids', async () => {
    const world = await createWorld();
    const head = await world.commit({
      'a/deploy.py': '1',
      'a/other': '2',
      'a/sub/deploy.py': '3',
      'b/readme': '4',
    });
    await world.mirror.fetch();
    const id = (path: string) => world.shell(['rev-parse', `${head}:${path}`]);
    const [a, b] = [await id('a'), await id('b')];
    expect(await world.mirror.filesIn([a, b, a], new Set(['deploy.py', 'sub']))).toEqual(
      new Map([
        [
          a,
          [
            { mode: '100644', type: 'blob', id: await id('a/deploy.py'), path: 'deploy.py' },
            { mode: '040000', type: 'tree', id: await id('a/sub'), path: 'sub' },
          ],
        ],
        [b, []],
      ]),
    );
  });

  it.each([
    ['no entry at all', Buffer.alloc(30, 'x')],
    ['a name without an end', Buffer.from('100644 name')],
    ['half an id', Buffer.from('100644 name\0short')],
  ])('F34: ends with an error at a malformed tree: %s', async (_name, content) => {
    const world = await createWorld();
    await writeFile(join(world.root, 'tree'), content);
    const tree = await world.shell([
      'hash-object',
      '-t',
      'tree',
      '--literally',
      '-w',
      join(world.root, 'tree'),
    ]);
    await expect(
      filesIn(
        inRepository(world.git, { gitDirectory: join(world.source, '.git') }),
        [tree],
        new Set(['name']),
      ),
    ).rejects.toMatchObject({ kind: 'broken', message: expect.stringContaining(`${tree} is malformed`) });
  });
});

describe('followLinks', () => {
  it('finds the file of the same commit, over several links, and none outside of it', async () => {
    const world = await createWorld();
    await world.commit({ 'shared/compose.yaml': 'services: {}\n' });
    const link = (name: string, target: string) => symlink(target, join(world.source, name));
    await mkdir(join(world.source, 'a'));
    await link('a/one', '../shared/compose.yaml');
    await link('a/two', 'one');
    await link('folder', 'shared');
    await link('a/through-folder', '../folder/compose.yaml');
    await link('a/dangling', '../no\nsuch file');
    await link('a/loop', 'loop');
    await link('a/outside', '../../etc/passwd');
    await link('a/absolute', '/etc/passwd');
    await link('a/not-a-file', '../shared');
    const head = await world.commit({ other: '' });
    await world.mirror.fetch();
    const id = await world.shell(['rev-parse', `${head}:shared/compose.yaml`]);
    const names = [
      'dangling',
      'loop',
      'one',
      'outside',
      'two',
      'absolute',
      'not-a-file',
      'through-folder',
      'none',
    ];
    expect(
      await world.mirror.followLinks(
        head,
        names.map((name) => `a/${name}`),
      ),
    ).toEqual(
      new Map([
        ['a/one', id],
        ['a/two', id],
        ['a/through-folder', id],
      ]),
    );
  });
});

describe('blobs and rootTrees', () => {
  it('give exact bytes and the trees of commits only', async () => {
    const world = await createWorld();
    const content = 'blob 7\n\0\nno end of line \u{1f680}';
    const head = await world.commit({ a: content, empty: '' });
    await world.mirror.fetch();
    const [a, empty] = [
      await world.shell(['rev-parse', 'HEAD:a']),
      await world.shell(['rev-parse', 'HEAD:empty']),
    ];
    const blobs = await world.mirror.blobs([a, empty]);
    expect([blobs.get(a)?.toString(), blobs.get(empty)?.toString()]).toEqual([content, '']);
    const tree = await world.shell(['rev-parse', 'HEAD^{tree}']);
    expect(await world.mirror.rootTrees([head, '1'.repeat(40)])).toEqual(new Map([[head, tree]]));
  });
});
