import { chmod, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { longestTurnMs } from '../../hostile-content.fixture.ts';
import { captureProcess } from '../../process/capture.ts';
import { createWorld, PATH, type World } from '../test-support.ts';
import { EMPTY_TREE } from './trees.ts';

const UNKNOWN = '1'.repeat(40);

const STRANGE_NAMES = [
  'a"b\\c.tf',
  "it's",
  'line\nbreak',
  '-rf',
  '--output=x',
  'trailing ',
  ' leading',
  'ünïcode/🚀.yaml',
  'tab\there',
  '$(id);`id`',
  'pair 1\n',
  [...Array(12).fill('d'.repeat(200)), 'deep'].join('/'),
];

async function treeOf(world: World, revision: string, folder = ''): Promise<string> {
  return world.shell(['rev-parse', `${revision}:${folder}`]);
}

describe('listTree', () => {
  it('F40: gives every name exactly, with folders, modes and submodules', async () => {
    const world = await createWorld();
    await world.commit({ 'a/plain': 'x', Case: '1', case: '2' });
    await world.commit(Object.fromEntries(STRANGE_NAMES.map((name) => [name, 'x'])));
    await chmod(join(world.source, 'a/plain'), 0o755);
    await symlink('/etc/passwd', join(world.source, 'a/link'));
    await world.shell(['update-index', '--add', '--cacheinfo', `160000,${UNKNOWN},vendor/module`]);
    await world.shell(['add', 'a']);
    await world.shell(['commit', '-q', '-m', 'x']);
    await world.shell(['push', '-q', 'origin', 'HEAD']);
    const { head } = await world.mirror.fetch();

    const entries = await world.mirror.listTree(head);
    const paths = entries.map(({ path }) => path);
    expect(paths).toEqual(
      expect.arrayContaining([...STRANGE_NAMES, 'Case', 'case', 'a', 'ünïcode', 'vendor']),
    );
    expect(new Set(paths).size).toBe(paths.length);
    const entry = (path: string) => entries.find((candidate) => candidate.path === path);
    expect(entry('a')).toEqual({
      mode: '040000',
      type: 'tree',
      id: await treeOf(world, head, 'a'),
      path: 'a',
    });
    expect(entry('a/plain')).toMatchObject({ mode: '100755', type: 'blob' });
    expect(entry('a/link')).toMatchObject({ mode: '120000', type: 'blob' });
    expect(entry('vendor/module')).toEqual({
      mode: '160000',
      type: 'commit',
      id: UNKNOWN,
      path: 'vendor/module',
    });
  });

  it('lists a tree as well as a commit', async () => {
    const world = await createWorld();
    const head = await world.commit({ 'a/b': 'x' });
    await world.mirror.fetch();
    const entries = await world.mirror.listTree(await treeOf(world, head, 'a'));
    expect(entries.map(({ path }) => path)).toEqual(['b']);
  });

  it('F40: takes each path for itself, never for a pattern', async () => {
    const world = await createWorld();
    const head = await world.commit({ 'd/a': '1', ':(exclude)d/b': '2', ':x': '3', x: '4', '*': '5' });
    await world.mirror.fetch();
    const at = async (...paths: string[]) =>
      (await world.mirror.listTree(head, paths)).map(({ path }) => path);
    expect(await at(':(exclude)d')).toEqual([':(exclude)d', ':(exclude)d/b']);
    expect(await at(':x', '*')).toEqual(['*', ':x']);
    expect(await at(':(glob)**', ':!d')).toEqual([]);
    expect((await world.mirror.listLevel(head, ['d/'])).map(({ path }) => path)).toEqual(['d/a']);
    expect(world.warnings).toEqual([]);
  });

  it('rejects an unknown commit and anything that is not a full id', async () => {
    const world = await createWorld();
    await world.commit({ a: '1' });
    await world.mirror.fetch();
    for (const revision of [UNKNOWN, 'main', 'HEAD', '--output=/tmp/x', '']) {
      await expect(world.mirror.listTree(revision)).rejects.toMatchObject({ kind: 'unknown_revision' });
    }
    expect(world.warnings).toEqual([]);
  });
});

describe('changedPaths', () => {
  it('F40: names both sides of a rename, case-only pairs, mode-only changes and submodule bumps', async () => {
    const world = await createWorld();
    const before = await world.commit({ 'a/moved': 'same', Case: '1', case: '2', 'run.sh': 'x' });
    await world.shell(['mv', 'a/moved', 'moved']);
    await world.commit({ case: '3', 'b/moved': 'same', moved: null });
    await chmod(join(world.source, 'run.sh'), 0o755);
    await world.shell(['update-index', '--add', '--cacheinfo', `160000,${UNKNOWN},module`]);
    await world.shell(['add', 'run.sh']);
    await world.shell(['commit', '-q', '-m', 'x']);
    await world.shell(['push', '-q', 'origin', 'HEAD']);
    const { head } = await world.mirror.fetch();
    const pair = { from: await treeOf(world, before), to: await treeOf(world, head) };
    const [paths] = await world.mirror.changedPaths([pair]);
    expect(paths?.toSorted()).toEqual(['a/moved', 'b/moved', 'case', 'module', 'run.sh']);
  });

  it('F40: keeps strange names apart and answers each pair in its place', async () => {
    const world = await createWorld();
    const one = await world.commit({ 'a/x': '1', 'b/y': '1' });
    // A file name that reads like the heading of the next answer must not end the one it stands in.
    const tree = await treeOf(world, one, 'b');
    const forged = `${EMPTY_TREE} ${tree}\nevil`;
    const two = await world.commit({
      ...Object.fromEntries(STRANGE_NAMES.map((name) => [name, 'x'])),
      [forged]: '',
    });
    await world.mirror.fetch();
    const from = await treeOf(world, one);
    const to = await treeOf(world, two);
    const answers = await world.mirror.changedPaths([
      { from, to },
      { from: EMPTY_TREE, to: tree },
      { from: UNKNOWN, to },
      { from, to: UNKNOWN },
      { from: to, to },
      { from: tree, to: EMPTY_TREE },
    ]);
    expect(answers[0]?.toSorted()).toEqual([...STRANGE_NAMES, forged].toSorted());
    expect(answers.slice(1)).toEqual([['y'], null, null, [], ['y']]);
    expect(await world.mirror.changedPaths([])).toEqual([]);
  });

  it('rejects commits, which diff-tree would read in another way', async () => {
    const world = await createWorld();
    const one = await world.commit({ a: '1' });
    const two = await world.commit({ a: '2' });
    await world.mirror.fetch();
    await expect(world.mirror.changedPaths([{ from: one, to: two }])).rejects.toMatchObject({
      kind: 'unknown_revision',
    });
  });

  it('reads a hundred thousand files without quadratic work', async () => {
    const world = await createWorld();
    const blob = await world.commit({ a: '1' }).then((head) => treeOf(world, head, 'a'));
    const lines = Array.from(
      { length: 100_000 },
      (_, index) => `100644 ${blob}\tdir${index % 1000}/file${index}\n`,
    );
    const env = { PATH, HOME: world.root };
    const options = { cwd: world.source, env, timeoutMs: 60_000 };
    await captureProcess({
      argv: ['git', 'update-index', '--index-info'],
      input: lines.join(''),
      ...options,
    });
    const tree = await world.shell(['write-tree']);
    const head = await world.shell(['commit-tree', tree, '-m', 'many']);
    await world.shell(['push', '-q', 'origin', `+${head}:refs/heads/main`]);
    await world.mirror.fetch();
    const longestMs = await longestTurnMs(async () => {
      const entries = await world.mirror.listTree(head);
      const [paths] = await world.mirror.changedPaths([{ from: EMPTY_TREE, to: tree }]);
      expect(entries).toHaveLength(101_001);
      expect(paths).toHaveLength(100_001);
    });
    // CPU time of this thread: it takes less than a second, and quadratic work takes minutes.
    expect(longestMs).toBeLessThan(10_000);
  });
});
