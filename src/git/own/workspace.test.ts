import {
  access,
  chown,
  mkdir,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createWorld, type World } from '../test-support.ts';

/** Files of the checkout with their content, without `.git`. */
async function contents(world: World): Promise<Record<string, string>> {
  const { directory } = world.workspace;
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const found: Record<string, string> = {};
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name).slice(directory.length + 1);
    if (path === '.git' || path.startsWith('.git/') || entry.isDirectory()) continue;
    found[path] = entry.isSymbolicLink() ? 'a link' : await readFile(join(directory, path), 'utf8');
  }
  return found;
}

async function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

const FILES = {
  '.gitignore': '.venv/\n*.pyc\n',
  'platform/01.db/deploy.py': 'task',
  'platform/01.db/compose.yaml': 'x',
};

async function checkedOutWorld() {
  const world = await createWorld();
  const head = await world.commit(FILES);
  await world.mirror.fetch();
  await world.workspace.moveTo(head);
  const file = (path: string) => join(world.workspace.directory, path);
  return { world, head, file };
}

describe('moveTo', () => {
  it('checks out exactly the commit, forwards and backwards', async () => {
    const { world, head, file } = await checkedOutWorld();
    const two = await world.commit({
      'platform/01.db/deploy.py': 'newer',
      'platform/02.web/deploy.py': 'web',
    });
    await world.mirror.fetch();
    await world.workspace.moveTo(two);
    expect(await contents(world)).toEqual({
      ...FILES,
      'platform/01.db/deploy.py': 'newer',
      'platform/02.web/deploy.py': 'web',
    });
    await world.workspace.moveTo(head);
    expect(await contents(world)).toEqual(FILES);
    expect(await isThere(file('platform/02.web'))).toBe(false);
    expect(await world.shell(['rev-parse', 'HEAD'], world.workspace.directory)).toBe(head);
    expect(await world.shell(['status', '--porcelain'], world.workspace.directory)).toBe('');
  });

  it('keeps no second copy of the objects, and the file times of what did not change', async () => {
    const { world, file } = await checkedOutWorld();
    const before = await stat(file('platform/01.db/deploy.py'));
    const two = await world.commit({ other: 'x' });
    await world.mirror.fetch();
    await world.workspace.moveTo(two);
    expect((await stat(file('platform/01.db/deploy.py'))).mtimeMs).toBe(before.mtimeMs);
    const objects = await readdir(file('.git/objects'), { recursive: true, withFileTypes: true });
    expect(objects.filter((entry) => entry.isFile()).map((entry) => entry.name)).toEqual(['alternates']);
  });

  it('keeps ignored files and removes everything else that is not of the commit', async () => {
    const { world, head, file } = await checkedOutWorld();
    await mkdir(file('.venv/bin'), { recursive: true });
    await writeFile(file('.venv/bin/python'), 'python');
    await writeFile(file('platform/01.db/x.pyc'), 'cache');
    await mkdir(file('stray/deep'), { recursive: true });
    await writeFile(file('stray/deep/file'), 'x');
    await world.shell(['init', '-q', file('nested')]);
    await world.shell(['init', '-q', file('platform/01.db')]);
    await world.workspace.moveTo(head);
    const kept = { '.venv/bin/python': 'python', 'platform/01.db/x.pyc': 'cache' };
    expect(await contents(world)).toEqual({ ...FILES, ...kept });
    expect(await isThere(file('platform/01.db/.git'))).toBe(false);
    expect(await isThere(file('nested'))).toBe(false);
  });

  it('removes a file that was tracked and is ignored now', async () => {
    const { world, file } = await checkedOutWorld();
    const two = await world.commit({ 'settings.pyc': 'tracked' });
    await world.mirror.fetch();
    await world.workspace.moveTo(two);
    const three = await world.commit({ 'settings.pyc': null });
    await world.mirror.fetch();
    await world.workspace.moveTo(three);
    expect(await isThere(file('settings.pyc'))).toBe(false);
  });

  it('repairs files, folders and links that a task changed or put in the place of others', async () => {
    const { world, head, file } = await checkedOutWorld();
    const elsewhere = join(world.root, 'elsewhere');
    const plant: (() => Promise<unknown>)[] = [
      () => writeFile(file('platform/01.db/deploy.py'), 'evil'),
      async () => {},
      () => symlink('/etc/passwd', file('platform/01.db/deploy.py')),
      () => mkdir(file('platform/01.db/deploy.py/inside'), { recursive: true }),
      () => writeFile(file('platform'), 'a file'),
      () => symlink(elsewhere, file('platform')),
      () => symlink('/nonexistent', file('platform')),
    ];
    await mkdir(join(elsewhere, '01.db'), { recursive: true });
    await writeFile(join(elsewhere, '01.db/deploy.py'), 'task');
    await writeFile(join(elsewhere, '01.db/compose.yaml'), 'x');
    for (const [index, act] of plant.entries()) {
      await rm(file(index < 4 ? 'platform/01.db/deploy.py' : 'platform'), { recursive: true });
      await act();
      await world.workspace.moveTo(head);
      expect(await contents(world)).toEqual(FILES);
    }
    expect(await readdir(join(elsewhere, '01.db'))).toEqual(['compose.yaml', 'deploy.py']);
  });

  it('sees a change behind an index with planted bits and unchanged file times', async () => {
    const { world, head, file } = await checkedOutWorld();
    const inside = world.workspace.directory;
    const { atime, mtime } = await stat(file('platform/01.db/deploy.py'));
    await world.shell(['update-index', '--assume-unchanged', 'platform/01.db/deploy.py'], inside);
    await world.shell(['update-index', '--skip-worktree', 'platform/01.db/compose.yaml'], inside);
    await writeFile(file('platform/01.db/deploy.py'), 'evil');
    await utimes(file('platform/01.db/deploy.py'), atime, mtime);
    await writeFile(file('platform/01.db/compose.yaml'), 'y');
    await world.workspace.moveTo(head);
    expect(await contents(world)).toEqual(FILES);
  });

  it('sees through an index that a task wrote to match its change', async () => {
    const { world, head, file } = await checkedOutWorld();
    const inside = world.workspace.directory;
    await writeFile(file('platform/01.db/deploy.py'), 'evil');
    await world.shell(['add', '-A'], inside);
    await world.shell(['commit', '-q', '-m', 'evil'], inside);
    await world.workspace.moveTo(head);
    expect(await contents(world)).toEqual(FILES);
    expect(await world.shell(['rev-parse', 'HEAD'], inside)).toBe(head);
  });

  it('leaves a submodule folder empty', async () => {
    const { world, file } = await checkedOutWorld();
    await world.shell(['update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},vendor/module`]);
    await world.shell(['commit', '-q', '-m', 'module']);
    await world.shell(['push', '-q', 'origin', 'HEAD:main']);
    const { head } = await world.mirror.fetch();
    await world.workspace.moveTo(head);
    await writeFile(file('vendor/module/leftover'), 'x');
    await world.workspace.moveTo(head);
    expect(await readdir(file('vendor/module'))).toEqual([]);
  });

  it('rejects a commit that the mirror does not have, and changes nothing', async () => {
    const { world, head } = await checkedOutWorld();
    for (const revision of ['1'.repeat(40), 'main', '--detach']) {
      await expect(world.workspace.moveTo(revision)).rejects.toMatchObject({ kind: 'unknown_revision' });
    }
    expect(await world.shell(['rev-parse', 'HEAD'], world.workspace.directory)).toBe(head);
    expect(world.warnings).toEqual([]);
  });
});

describe('damage and plants in .git', () => {
  it('F40c: planted hooks, configuration, attributes and helpers are not run', async () => {
    const { world, file } = await checkedOutWorld();
    const canary = join(world.root, 'canary');
    const touch = `touch ${canary}`;
    await mkdir(file('.git/hooks'), { recursive: true });
    for (const hook of ['post-checkout', 'post-index-change', 'reference-transaction', 'fsmonitor']) {
      await writeFile(file(`.git/hooks/${hook}`), `#!/bin/sh\n${touch}\n`, { mode: 0o755 });
    }
    await mkdir(file('.git/info'), { recursive: true });
    await writeFile(file('.git/info/attributes'), '* filter=evil diff=evil\n');
    const config = [
      `[core]\nfsmonitor = "${touch}"\nsshCommand = "${touch}"\nhooksPath = .git/hooks\npager = "${touch}"`,
      `[filter "evil"]\nsmudge = "${touch}; cat"\nclean = "${touch}; cat"\nprocess = "${touch}"\nrequired = true`,
      `[diff "evil"]\nexternal = "${touch}"`,
      `[alias]\ncheckout = "!${touch}"`,
    ];
    await writeFile(file('.git/config'), config.join('\n'));
    await writeFile(file('.gitattributes'), '* filter=evil\n');
    const next = await world.commit({
      '.gitattributes': '* filter=evil\n',
      'platform/01.db/deploy.py': 'newer',
    });
    await world.mirror.fetch();
    await world.workspace.moveTo(next);
    expect(await isThere(canary)).toBe(false);
    expect((await contents(world))['platform/01.db/deploy.py']).toBe('newer');
    expect(await readFile(file('.git/config'), 'utf8')).not.toMatch(/evil|touch/);
  });

  const DAMAGES: Record<string, (git: string) => Promise<unknown>> = {
    'a missing .git': (git) => rm(git, { recursive: true }),
    'a .git that is a file': async (git) => {
      await rm(git, { recursive: true });
      await writeFile(git, 'gitdir: /nonexistent\n');
    },
    'a .git that is a link': async (git) => {
      await rm(git, { recursive: true });
      await symlink('/nonexistent', git);
    },
    'a HEAD of another branch': (git) => writeFile(join(git, 'HEAD'), 'ref: refs/heads/none\n'),
    'a HEAD of an unknown commit': (git) => writeFile(join(git, 'HEAD'), `${'1'.repeat(40)}\n`),
    'an empty HEAD': (git) => truncate(join(git, 'HEAD'), 0),
    'a torn index': (git) => truncate(join(git, 'index'), 20),
    'leftover locks': async (git) => {
      for (const name of ['index.lock', 'HEAD.lock', 'config.lock']) await writeFile(join(git, name), '');
    },
    'a planted commondir, sparse checkout and exclude file': async (git) => {
      await mkdir(join(git, 'info'), { recursive: true });
      await writeFile(join(git, 'commondir'), '/nonexistent\n');
      await writeFile(join(git, 'info/sparse-checkout'), '/nothing\n');
      await writeFile(join(git, 'info/exclude'), '*\n');
    },
    'alternates that lead elsewhere': async (git) => {
      const alternates = await readFile(join(git, 'objects/info/alternates'), 'utf8');
      expect(alternates).toMatch(/mirror\.git\/objects\n$/);
      await writeFile(join(git, 'objects/info/alternates'), '/nonexistent\n');
    },
  };

  it.each(Object.entries(DAMAGES))('F33: %s does not hinder the next move', async (_name, damage) => {
    const { world, head, file } = await checkedOutWorld();
    await damage(file('.git'));
    await writeFile(file('stray'), 'x');
    await mkdir(file('.venv'), { recursive: true });
    await writeFile(file('.venv/kept'), 'x');
    await writeFile(file('platform/01.db/deploy.py'), 'evil');
    await world.workspace.moveTo(head);
    expect(await contents(world)).toEqual({ ...FILES, '.venv/kept': 'x' });
    expect(world.warnings).toEqual([]);
  });

  it('names a workspace that is a link, a file, or belongs to somebody else', async () => {
    const { world, head, file } = await checkedOutWorld();
    const { directory } = world.workspace;
    if (process.geteuid?.() === 0) {
      await chown(directory, 12_345, 12_345);
      await expect(world.workspace.moveTo(head)).rejects.toThrow(`${directory} belongs to user 12345`);
    }
    await rm(directory, { recursive: true });
    await mkdir(join(world.root, 'target'));
    await symlink(join(world.root, 'target'), directory);
    await expect(world.workspace.moveTo(head)).rejects.toThrow(`${directory} is a symbolic link`);
    expect(await readdir(join(world.root, 'target'))).toEqual([]);
    await rm(directory);
    await writeFile(directory, '');
    await expect(world.workspace.moveTo(head)).rejects.toThrow(`${directory} is not a directory`);
    await rm(directory);
    await world.workspace.moveTo(head);
    expect(await isThere(file('platform/01.db/deploy.py'))).toBe(true);
  });

  it('F34: comes out whole when the mirror loses its objects between fetch and move', async () => {
    const { world, head, file } = await checkedOutWorld();
    await rm(join(world.mirror.directory, 'objects'), { recursive: true });
    await rm(file('platform'), { recursive: true });
    await world.workspace.moveTo(head);
    expect(await contents(world)).toEqual(FILES);
    expect(world.warnings).toEqual(['The mirror is damaged and is rebuilt']);
  });
});
