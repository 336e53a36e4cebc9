import { chown, mkdir, open, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../errors.ts';
import { createWorld, type World } from '../test-support.ts';
import { createMirror } from './mirror.ts';

async function packsOf(world: World): Promise<string[]> {
  const directory = join(world.mirror.directory, 'objects/pack');
  const names = await readdir(directory);
  return names.filter((name) => name.endsWith('.pack')).map((name) => join(directory, name));
}

async function exists(path: string): Promise<boolean> {
  return readdir(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
  );
}

describe('fetch', () => {
  it('builds the mirror, then brings news and forced pushes', async () => {
    const world = await createWorld();
    const one = await world.commit({ a: '1' });
    expect(await world.mirror.head()).toBeNull();
    expect(await world.mirror.fetch()).toEqual({ head: one });
    const two = await world.commit({ a: '2' });
    expect(await world.mirror.fetch()).toEqual({ head: two });
    expect(await world.mirror.fetch()).toEqual({ head: two });
    await world.shell(['push', '-q', '--force', 'origin', `${one}:refs/heads/main`]);
    expect(await world.mirror.fetch()).toEqual({ head: one });
    expect(await world.mirror.head()).toBe(one);
    expect(await readdir(join(world.root, 'data'))).toEqual(['mirror.git']);
    expect(world.warnings).toEqual([]);
  });

  it('stays whole for readers while it is rebuilt', async () => {
    const world = await createWorld();
    const head = await world.commit({ a: '1' });
    await world.mirror.fetch();
    for (let round = 0; round < 8; round += 1) {
      const reads = Array.from({ length: 6 }, (_, index) =>
        sleep(index * 5).then(() => world.mirror.locate([head])),
      );
      await world.mirror.fetch();
      for (const locations of await Promise.all(reads)) expect(locations.get(head)).toBe('on_branch');
    }
    expect(world.warnings).toEqual([]);
  });

  it('fetches from a file URL, one branch, and no tags', async () => {
    const world = await createWorld({ url: (remote) => `file://${remote}` });
    const head = await world.commit({ a: '1' });
    await world.shell(['push', '-q', 'origin', 'HEAD:refs/heads/other', 'HEAD:refs/tags/v1']);
    expect(await world.mirror.fetch()).toEqual({ head });
    expect(await readdir(join(world.mirror.directory, 'refs'), { recursive: true })).toEqual([
      'heads',
      'heads/main',
    ]);
  });

  it('fails when the remote or its branch is missing, and keeps what it has', async () => {
    const world = await createWorld();
    const head = await world.commit({ a: '1' });
    await world.mirror.fetch();
    await world.shell(['update-ref', '-d', 'refs/heads/main'], world.remote);
    await expect(world.mirror.fetch()).rejects.toMatchObject({
      kind: 'unavailable',
      nextAction: /GIT_BRANCH/,
    });
    await rm(world.remote, { recursive: true });
    await expect(world.mirror.fetch()).rejects.toMatchObject({ kind: 'unavailable' });
    expect(await world.mirror.head()).toBe(head);
    expect(await world.mirror.listTree(head)).toHaveLength(1);
    expect(world.warnings).toEqual([]);
  });

  it('is cancelled by its signal and leaves the lock free', async () => {
    const world = await createWorld();
    const head = await world.commit({ a: '1' });
    await expect(world.mirror.fetch(AbortSignal.abort(new Error('drained')))).rejects.toThrow('drained');
    expect(await world.mirror.fetch()).toEqual({ head });
  });

  it('waits for others that fetch into the same directory', async () => {
    const world = await createWorld();
    const head = await world.commit({ a: '1' });
    const log = { warn: () => {} };
    const second = createMirror({
      git: world.git,
      directory: world.mirror.directory,
      followed: { branch: 'main' },
      log,
    });
    const all = await Promise.all([
      world.mirror.fetch(),
      second.fetch(),
      world.mirror.fetch(),
      second.fetch(),
    ]);
    expect(all).toEqual([{ head }, { head }, { head }, { head }]);
  });

  it('merges packs, so that their number stays bounded', async () => {
    const world = await createWorld();
    await world.commit({ a: 'first' });
    for (let round = 0; round < 45; round += 1) {
      await world.commit({ a: String(round) });
      await world.mirror.fetch();
    }
    expect((await packsOf(world)).length).toBeLessThan(41);
    expect(world.warnings).toEqual([]);
  });

  it.runIf(process.geteuid?.() === 0)('F40c: names a mirror that belongs to somebody else', async () => {
    const world = await createWorld();
    await world.commit({ a: '1' });
    await world.mirror.fetch();
    await chown(world.mirror.directory, 12_345, 12_345);
    await expect(world.mirror.fetch()).rejects.toThrow(/mirror\.git belongs to user 12345/);
  });
});

describe('F33: killed gits', () => {
  it('F33: a fetch that was killed with -9 at any instant does not hinder the next', async () => {
    const world = await createWorld();
    await world.commit({ big: Buffer.alloc(3_000_000, 'seed').toString('base64') });
    for (let round = 0; round < 20; round += 1) {
      const files = Array.from({ length: 40 }, (_, index) => [`f${index}`, `${Math.random()}`.repeat(500)]);
      const head = await world.commit(Object.fromEntries(files));
      if (round % 3 === 0) await rm(world.mirror.directory, { recursive: true, force: true });
      const doomed = world.mirror.fetch().catch(() => {});
      await sleep(Math.random() * 60);
      await killGits(world.root);
      await doomed;
      expect(await world.mirror.fetch()).toEqual({ head });
      expect(await world.mirror.listTree(head)).toHaveLength(41);
      expect((await readdir(join(world.mirror.directory, 'objects/pack'))).join()).not.toMatch(/tmp_/);
    }
  });

  it('F33: planted locks, half packs and half mirrors are removed', async () => {
    const world = await createWorld();
    await world.commit({ a: '1' });
    await world.mirror.fetch();
    const head = await world.commit({ a: '2' });
    const names = ['index.lock', 'config.lock', 'HEAD.lock', 'packed-refs.lock', 'shallow.lock'];
    const planted = [...names, 'refs/heads/main.lock', 'objects/pack/tmp_pack_x1', 'objects/pack/tmp_idx_x1'];
    for (const name of planted) await writeFile(join(world.mirror.directory, name), '');
    await mkdir(`${world.mirror.directory}.new-abc/objects`, { recursive: true });
    await mkdir(`${world.mirror.directory}.old-abc`, { recursive: true });

    expect(await world.mirror.fetch()).toEqual({ head });
    for (const name of planted) expect(await exists(join(world.mirror.directory, name))).toBe(false);
    expect(await readdir(join(world.root, 'data'))).toEqual(['mirror.git']);
    expect(world.warnings).toEqual([]);
  });

  it('F33: the lock of a killed process becomes free', async () => {
    const world = await createWorld();
    const head = await world.commit({ a: '1' });
    // A process that is killed during a fetch leaves a lock directory that nobody refreshes.
    await mkdir(`${world.mirror.directory}.lock`, { recursive: true });
    expect(await world.mirror.fetch()).toEqual({ head });
  });
});

describe('F34: damage', () => {
  const DAMAGES: Record<string, (world: World) => Promise<void>> = {
    'a truncated pack': async (world) => {
      for (const pack of await packsOf(world)) await truncate(pack, 100);
    },
    'an empty pack': async (world) => {
      for (const pack of await packsOf(world)) await truncate(pack, 0);
    },
    'an empty ref': (world) => writeFile(join(world.mirror.directory, 'refs/heads/main'), ''),
    'a ref of zero bytes': (world) =>
      writeFile(join(world.mirror.directory, 'refs/heads/main'), Buffer.alloc(41)),
    'a ref to a commit that is not there': (world) =>
      writeFile(join(world.mirror.directory, 'refs/heads/main'), `${'1'.repeat(40)}\n`),
    'an empty loose object in place of a pack': async (world) => {
      const head = await world.shell(['rev-parse', 'HEAD']);
      await rm(join(world.mirror.directory, 'objects/pack'), { recursive: true });
      await mkdir(join(world.mirror.directory, 'objects', head.slice(0, 2)));
      await writeFile(join(world.mirror.directory, 'objects', head.slice(0, 2), head.slice(2)), '');
    },
    'a missing HEAD, config and refs': async (world) => {
      for (const name of ['HEAD', 'config', 'refs'])
        await rm(join(world.mirror.directory, name), { recursive: true });
    },
    'planted alternates, grafts, configuration and a linked objects folder': async (world) => {
      const { directory } = world.mirror;
      await mkdir(join(directory, 'info'), { recursive: true });
      await mkdir(join(directory, 'objects/info'), { recursive: true });
      await writeFile(join(directory, 'objects/info/alternates'), '/nonexistent/objects\n');
      await writeFile(join(directory, 'info/grafts'), 'nonsense\n');
      await writeFile(join(directory, 'config'), '[core\n');
      await symlink('/nonexistent', join(directory, 'commondir'));
    },
  };

  it.each(Object.entries(DAMAGES))('F34: %s is repaired by the next fetch', async (_name, damage) => {
    const world = await createWorld();
    const head = await world.commit({ a: '1', 'b/c': '2' });
    await world.mirror.fetch();
    await damage(world);
    expect(await world.mirror.fetch()).toEqual({ head });
    await world.workspace.moveTo(head);
    expect(await readFile(join(world.workspace.directory, 'b/c'), 'utf8')).toBe('2');
  });

  it('F34: damage in an old pack, which no fetch reads, is repaired when it is found', async () => {
    const world = await createWorld();
    const one = await world.commit({ a: 'one' });
    await world.mirror.fetch();
    const old = await packsOf(world);
    const two = await world.commit({ a: 'two' });
    await world.mirror.fetch();
    const three = await world.commit({ a: 'three' });
    await world.mirror.fetch();
    for (const pack of old) await truncate(pack, 100);
    await world.mirror.fetch();
    expect(world.warnings).toEqual([]);
    expect(await world.mirror.locate([one, two])).toEqual(
      new Map([
        [one, 'on_branch'],
        [two, 'on_branch'],
      ]),
    );
    expect(world.warnings).toHaveLength(1);
    expect(await world.mirror.descendants(one)).toEqual(new Set([two, three]));
  });

  it('F34: bad bytes inside a pack are found by the checkout, which then comes out whole', async () => {
    const world = await createWorld();
    const content = Array.from({ length: 20_000 }, () => Math.random()).join('\n');
    const head = await world.commit({ big: content });
    await world.mirror.fetch();
    const [pack = ''] = await packsOf(world);
    await rm(pack.replace(/pack$/, 'rev'), { force: true });
    const file = await open(pack, 'r+');
    await file.write(Buffer.alloc(2000, 7), 0, 2000, 50_000);
    await file.close();
    await world.mirror.fetch();
    await world.workspace.moveTo(head);
    expect(await readFile(join(world.workspace.directory, 'big'), 'utf8')).toBe(content);
  });

  it('F34: if the rebuild fails too, the error has its reason, and the old mirror stays', async () => {
    const world = await createWorld();
    await world.commit({ a: '1' });
    await world.mirror.fetch();
    for (const pack of await packsOf(world)) await truncate(pack, 100);
    await rm(world.remote, { recursive: true });
    await expect(world.mirror.fetch()).rejects.toMatchObject({ kind: 'unavailable' });
    expect(await readdir(join(world.root, 'data'))).toEqual(['mirror.git']);
  });
});

/** A blank for a shell: legal in a branch name, unlike a real one. */
const IFS = ['$', '{IFS}'].join('');

describe('F35: branch names', () => {
  it.each([
    `--upload-pack=touch${IFS}CANARY`,
    `a;touch${IFS}CANARY`,
    `$(touch${IFS}CANARY)`,
    `\`touch${IFS}CANARY\``,
    'feature/x',
  ])('F35: %s is only a name', async (template) => {
    const root = await createWorld().then((world) => world.root);
    const branch = template.replace('CANARY', `${root}/canary`);
    const world = await createWorld({ branch });
    const head = await world.commit({ a: '1' });
    expect(await world.mirror.fetch()).toEqual({ head });
    await world.workspace.moveTo(head);
    expect((await world.mirror.locate([head])).get(head)).toBe('on_branch');
    expect(await exists(`${root}/canary`)).toBe(false);
  });

  it.each([
    '',
    '@',
    'a b',
    'a..b',
    'a:b',
    '*',
    'a\nb',
    '/a',
    'a/',
    'a//b',
    '.a',
    'a/.b',
    'a.lock',
    'a@{1}',
    'a\\b',
    'a^',
    'a~1',
    'a.',
  ])('F35: refuses %j, which is no branch name', async (branch) => {
    const { git, root } = await createWorld();
    const log = { warn: () => {} };
    expect(() => createMirror({ git, directory: join(root, 'x.git'), followed: { branch }, log })).toThrow(
      ConfigError,
    );
  });
});

/** kill -9 for each git that works below `root`, with its whole process group. */
async function killGits(root: string): Promise<void> {
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (!command.includes(`--git-dir=${root}`)) continue;
    try {
      process.kill(-Number(pid), 'SIGKILL');
    } catch {
      // Gone already, or not the leader of its group.
    }
  }
}
