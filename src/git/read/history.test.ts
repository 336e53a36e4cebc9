import { describe, expect, it } from 'vitest';
import { createWorld } from '../test-support.ts';

const UNKNOWN = '1'.repeat(40);

describe('locate', () => {
  it('F39: distinguishes commits of the branch, commits left behind by a forced push, and unknown ones', async () => {
    const world = await createWorld();
    const one = await world.commit({ a: '1' });
    const two = await world.commit({ a: '2' });
    await world.shell(['tag', '-a', 'v1', '-m', 'v1']);
    const tag = await world.shell(['rev-parse', 'v1']);
    await world.mirror.fetch();
    await world.shell(['reset', '-q', '--hard', one]);
    const three = await world.commit({ a: '3' });
    expect(await world.mirror.fetch()).toEqual({ head: three });

    const tree = await world.shell(['rev-parse', `${one}^{tree}`]);
    const asked = [one, two, three, UNKNOWN, '0'.repeat(40), tag, tree, 'main', '--all', ''];
    expect(Object.fromEntries(await world.mirror.locate(asked))).toEqual({
      [one]: 'on_branch',
      [two]: 'off_branch',
      [three]: 'on_branch',
      [UNKNOWN]: 'missing',
      ['0'.repeat(40)]: 'missing',
      [tag]: 'missing',
      [tree]: 'missing',
      main: 'missing',
      '--all': 'missing',
      '': 'missing',
    });
    expect(world.warnings).toEqual([]);
  });

  it('F39: finds nothing on an orphan branch that was pushed in place of the old one', async () => {
    const world = await createWorld();
    const old = await world.commit({ a: '1' });
    await world.mirror.fetch();
    await world.shell(['checkout', '-q', '--orphan', 'fresh']);
    const fresh = await world.commit({ b: '1' });
    await world.mirror.fetch();
    const locations = await world.mirror.locate([old, fresh]);
    expect([locations.get(old), locations.get(fresh)]).toEqual(['off_branch', 'on_branch']);
    expect(await world.mirror.descendants(old)).toEqual(new Set());
  });

  it('takes thousands of ids at once', async () => {
    const world = await createWorld();
    const head = await world.commit({ a: '1' });
    await world.mirror.fetch();
    const ids = Array.from({ length: 20_000 }, (_, index) => `1${index.toString(16).padStart(39, '0')}`);
    const locations = await world.mirror.locate([...ids, head]);
    expect(locations.size).toBe(20_001);
    expect(locations.get(head)).toBe('on_branch');
  });
});

describe('descendants and tips', () => {
  it('know what follows a commit, also through a merge', async () => {
    const world = await createWorld();
    const base = await world.commit({ a: '1' });
    await world.shell(['checkout', '-q', '-b', 'side']);
    const side = await world.commit({ b: '1' });
    await world.shell(['checkout', '-q', 'main']);
    const main = await world.commit({ c: '1' });
    await world.shell(['merge', '-q', '--no-edit', 'side']);
    const merge = await world.commit({});
    const merged = await world.shell(['rev-parse', 'HEAD~1']);
    await world.mirror.fetch();

    expect(await world.mirror.descendants(base)).toEqual(new Set([side, main, merged, merge]));
    expect(await world.mirror.descendants(side)).toEqual(new Set([merged, merge]));
    expect(await world.mirror.descendants(merge)).toEqual(new Set());
    await expect(world.mirror.descendants(UNKNOWN)).rejects.toMatchObject({ kind: 'unknown_revision' });

    expect(await world.mirror.tips([base, side, main, side])).toEqual([side, main]);
    expect(await world.mirror.tips([base, main])).toEqual([main]);
    expect(await world.mirror.tips([side, merge, base])).toEqual([merge]);
    expect(await world.mirror.tips([base])).toEqual([base]);
    expect(await world.mirror.tips([])).toEqual([]);
    await expect(world.mirror.tips([base, UNKNOWN])).rejects.toMatchObject({ kind: 'unknown_revision' });
  });
});

describe('commit', () => {
  it('reads tree, subject and author without control characters', async () => {
    const world = await createWorld();
    await world.commit({ a: '1' }, 'Fix \u001b[31mred\u202e text \u{1f680}\n\nBody line');
    const { head } = await world.mirror.fetch();
    expect(await world.mirror.commit(head)).toEqual({
      id: head,
      tree: await world.shell(['rev-parse', 'HEAD^{tree}']),
      subject: 'Fix [31mred text \u{1f680}',
      author: 'Dev',
    });
  });

  it('rejects a tag, a tree and an unknown commit', async () => {
    const world = await createWorld();
    const head = await world.commit({ a: '1' });
    await world.mirror.fetch();
    const tree = await world.shell(['rev-parse', `${head}^{tree}`]);
    for (const id of [UNKNOWN, tree]) {
      await expect(world.mirror.commit(id)).rejects.toMatchObject({ kind: 'unknown_revision' });
    }
  });
});
