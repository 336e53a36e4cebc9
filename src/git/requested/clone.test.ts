import { lstat, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { createWorld, type World } from '../test-support.ts';
import { openClone } from './clone.ts';

/** Every file of a folder with its content and, but for objects, its time. */
async function photograph(folder: string): Promise<Map<string, string>> {
  const names = (await readdir(folder, { recursive: true })).toSorted();
  const shots = names.map(async (name): Promise<[string, string][]> => {
    const stat = await lstat(join(folder, name));
    if (!stat.isFile()) return [];
    const content = await readFile(join(folder, name), 'latin1');
    return [[name, name.startsWith('objects/') ? content : `${stat.mtimeMs} ${content}`]];
  });
  return new Map((await Promise.all(shots)).flat());
}

async function openSource(world: World, folder = world.source) {
  return openClone({ git: world.git, folder, directory: join(world.root, 'scratch') });
}

async function changedIn(world: World, folder?: string): Promise<string[]> {
  const clone = await openSource(world, folder);
  const head = await clone.commitOf('HEAD');
  const commit = await clone.workingFolder(head);
  const reader = clone.scratch.reader(commit);
  const trees = await reader.rootTrees([head ?? '', commit]);
  const pair = { from: trees.get(head ?? '') ?? '', to: trees.get(commit) ?? '' };
  return (await reader.changedPaths([pair]))[0] ?? [];
}

describe('A clone', () => {
  it('names its commits as git does, and takes no name for an option', async () => {
    const world = await createWorld();
    const first = await world.commit({ a: '1' }, 'First');
    const second = await world.commit({ a: '2' }, 'Second');
    await world.shell(['tag', '-a', 'v1', '-m', 'Tagged', first]);
    const clone = await openSource(world);
    expect(await clone.commitOf('HEAD')).toBe(second);
    expect(await clone.commitOf('HEAD~1')).toBe(first);
    expect(await clone.commitOf('v1')).toBe(first);
    expect(await clone.commitOf(second.slice(0, 8))).toBe(second);
    for (const name of ['nope', '', '--all', '-h', 'HEAD:a', `${first}\n${second}`]) {
      expect([name, await clone.commitOf(name)]).toEqual([name, null]);
    }
  });

  it('finds uncommitted files, staged or not, without ignored ones, and changes nothing in the clone', async () => {
    const world = await createWorld();
    await world.commit({ kept: '1', edited: '1', gone: '1', '.gitignore': '*.log\n' });
    await writeFile(join(world.source, '.git/info/exclude'), 'private\n');
    await writeFile(join(world.source, 'edited'), '2');
    await writeFile(join(world.source, 'staged'), '1');
    await world.shell(['add', 'staged']);
    for (const name of ['new é "x"', 'noise.log', 'private']) await writeFile(join(world.source, name), 'x');
    await rm(join(world.source, 'gone'));
    const before = await photograph(join(world.source, '.git'));
    expect(await changedIn(world)).toEqual(['edited', 'gone', 'new é "x"', 'staged']);
    expect(await photograph(join(world.source, '.git'))).toEqual(before);
  });

  it('is found from a folder inside, from a linked work tree, and bare', async () => {
    const world = await createWorld();
    const head = await world.commit({ 'deep/er/file': '1' });
    const linked = join(world.root, 'linked');
    await world.shell(['worktree', 'add', '--quiet', '--detach', linked]);
    await writeFile(join(linked, 'deep/er/file'), '2');
    expect(await changedIn(world, join(world.source, 'deep/er'))).toEqual([]);
    expect(await changedIn(world, linked)).toEqual(['deep/er/file']);
    expect(await (await openSource(world, world.remote)).commitOf('main')).toBe(head);
    await expect(openSource(world, '/')).rejects.toThrow('/ is not in a clone of a repository.');
  });

  it('notices an edit in the second in which git has read the file, also when that second is over', async () => {
    const world = await createWorld();
    const file = join(world.source, 'file');
    const secondOf = async (path: string) => Math.floor((await lstat(path)).mtimeMs / 1_000);
    let edited = 0;
    for (let index = -1, read = -1; edited !== read || edited !== index; ) {
      await world.commit({ file: `${(index % 7) + 1}` });
      read = await secondOf(file);
      await writeFile(file, 'x');
      edited = await secondOf(file);
      index = await secondOf(join(world.source, '.git/index'));
    }
    while (Math.floor(Date.now() / 1_000) <= edited) await sleep(50);
    expect(await changedIn(world)).toEqual(['file']);
  });

  it('may have no commit yet, or a shallow history', async () => {
    const world = await createWorld();
    await writeFile(join(world.source, 'file'), '1');
    const clone = await openSource(world);
    expect(await clone.commitOf('HEAD')).toBeNull();
    const commit = await clone.workingFolder(null);
    expect((await clone.scratch.reader(commit).listTree(commit)).map(({ path }) => path)).toEqual(['file']);
    await world.commit({ file: '2' });
    const head = await world.commit({ file: '3' });
    const shallow = join(world.root, 'shallow');
    await world.shell(['clone', '--quiet', '--depth=1', `file://${world.remote}`, shallow], world.root);
    const opened = await openSource(world, shallow);
    expect(await opened.scratch.reader(head).descendants(head)).toEqual(new Set());
    expect(await opened.commitOf('HEAD~1')).toBeNull();
  });

  it('runs nothing that the clone is configured to run', async () => {
    const world = await createWorld();
    await world.commit({ file: '1', '.gitattributes': '* filter=evil diff=evil\n' });
    const canary = join(world.root, 'canary');
    const touch = `touch ${canary}; cat`;
    const settings = ['filter.evil.clean', 'filter.evil.process', 'core.fsmonitor', 'diff.evil.textconv'];
    for (const key of settings) await world.shell(['config', key, touch]);
    await world.shell(['config', 'core.autocrlf', 'input']);
    await mkdir(join(world.source, '.git/hooks'), { recursive: true });
    await writeFile(join(world.source, '.git/hooks/post-index-change'), `#!/bin/sh\n${touch}\n`, {
      mode: 0o755,
    });
    await writeFile(join(world.source, 'file'), '2');
    expect(await changedIn(world)).toEqual(['file']);
    await expect(lstat(canary)).rejects.toThrow('ENOENT');
  });
});
