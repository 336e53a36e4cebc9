import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { filesWithSecrets } from '../http-remote.fixture.ts';
import {
  AUTH,
  createRemoteStage,
  PASSWORD,
  type RemoteStage,
} from '../requested/remote-repositories.fixture.ts';

const PEOPLE = {
  author: { name: 'Ada', email: 'ada@example.com' },
  committer: { name: 'Runner', email: 'job-1@example.com' },
};

async function setUp() {
  const stage = await createRemoteStage();
  await stage.shell(['config', 'http.receivepack', 'true'], stage.remote);
  const base = await stage.commit({ 'a.txt': 'one\ntwo\n', '.gitignore': 'out/\n', 'sub/b.bin': '\0\u0001' });
  return { stage, base };
}

async function openAt(stage: RemoteStage, base: string, name: string) {
  const repository = await stage.repositories.open({ url: stage.url, auth: AUTH });
  await repository.fetch('HEAD');
  const folder = stage.target(name);
  await repository.checkOut(base, folder);
  const branch = await repository.openNewBranch(join(stage.root, `${name}.git`));
  const record = (message = 'Change') => branch.record({ folder, base, message, ...PEOPLE });
  return { folder, branch, record };
}

describe('a new branch', () => {
  it('holds what the folder holds, as one commit in the given names', async () => {
    const { stage, base } = await setUp();
    const { folder, branch, record } = await openAt(stage, base, 'one');
    await writeFile(join(folder, 'a.txt'), 'one\nthree\nfour\n');
    await writeFile(join(folder, 'new -n.txt'), 'x\n');
    await rm(join(folder, 'sub'), { recursive: true });
    await mkdir(join(folder, 'out'));
    await writeFile(join(folder, 'out/ignored'), 'x');
    const recorded = await record('A "message"');
    expect(recorded).toMatchObject({ linesAdded: 3, linesRemoved: 1, committerEmail: 'job-1@example.com' });
    expect(await branch.push(recorded?.commit ?? '', 'repobox/1')).toBeNull();
    const show = (...args: string[]) => stage.shell(['log', '-1', 'repobox/1', ...args], stage.remote);
    expect(await show('--format=%B|%an|%ae|%cn|%P')).toBe(`A "message"\n|Ada|ada@example.com|Runner|${base}`);
    expect(await show('--format=', '--name-status', '--no-renames')).toBe(
      'M\ta.txt\nA\tnew -n.txt\nD\tsub/b.bin',
    );
    expect(await branch.find('repobox/1')).toEqual(recorded);
    expect(await filesWithSecrets(stage.root, [PASSWORD])).toEqual([]);
  });

  it('holds the files of repositories in the folder, with commits or without, and none of them as a link', async () => {
    const { stage, base } = await setUp();
    const { folder, branch, record } = await openAt(stage, base, 'one');
    for (const inner of ['empty', 'full', 'full/deep', 'sub']) {
      await mkdir(join(folder, inner), { recursive: true });
      await stage.shell(['init', '--quiet'], join(folder, inner));
      await writeFile(join(folder, inner, 'inside.txt'), 'x\n');
    }
    await stage.shell(['add', 'inside.txt'], join(folder, 'full'));
    await stage.shell(['commit', '--quiet', '-m', 'Inside'], join(folder, 'full'));
    const recorded = await record();
    expect(await branch.push(recorded?.commit ?? '', 'repobox/1')).toBeNull();
    const listed = await stage.shell(
      ['ls-tree', '-r', '--format=%(objectmode) %(path)', 'repobox/1'],
      stage.remote,
    );
    expect(listed.split('\n')).toEqual([
      '100644 .gitignore',
      '100644 a.txt',
      '100644 empty/inside.txt',
      '100644 full/deep/inside.txt',
      '100644 full/inside.txt',
      '100644 sub/b.bin',
      '100644 sub/inside.txt',
    ]);
  });

  it('is not made when nothing differs', async () => {
    const { stage, base } = await setUp();
    const { record, branch } = await openAt(stage, base, 'one');
    expect(await record()).toBeNull();
    expect(await branch.find('repobox/1')).toBeNull();
  });

  it('F50: is made by one of two attempts, and the other one learns its commit', async () => {
    const { stage, base } = await setUp();
    const [one, two] = await Promise.all(['one', 'two'].map((name) => openAt(stage, base, name)));
    if (!one || !two) throw new Error('None.');
    await writeFile(join(one.folder, 'a.txt'), 'by one');
    await writeFile(join(two.folder, 'a.txt'), 'by two');
    const [mine, theirs] = [await one.record(), await two.record()];
    if (!mine || !theirs) throw new Error('Nothing recorded.');
    const ends = await Promise.all([
      one.branch.push(mine.commit, 'repobox/1'),
      two.branch.push(theirs.commit, 'repobox/1'),
    ]);
    const at = await stage.shell(['rev-parse', 'repobox/1'], stage.remote);
    expect([mine.commit, theirs.commit]).toContain(at);
    expect(ends).toEqual(at === mine.commit ? [null, mine] : [theirs, null]);
    // A second push of it, as after a lost answer, finds it there.
    const winner = at === mine.commit ? one : two;
    expect(await winner.branch.push(at, 'repobox/1')).toBeNull();
  });

  it('trusts nothing in the repository of the folder', async () => {
    const { stage, base } = await setUp();
    const { folder, record } = await openAt(stage, base, 'one');
    await rm(join(folder, '.git'), { recursive: true });
    await mkdir(join(folder, '.git/hooks'), { recursive: true });
    await writeFile(join(folder, '.git/config'), '[core]\n\tworktree = /\n[filter "x"]\n\tclean = false\n');
    await writeFile(join(folder, '.gitattributes'), '* filter=x\n');
    expect(await record()).toMatchObject({ linesAdded: 1 });
  });

  it('is not made of a folder that became a link to another one', async () => {
    const { stage, base } = await setUp();
    const { folder, record } = await openAt(stage, base, 'one');
    await rm(folder, { recursive: true });
    await symlink('/etc', folder);
    await expect(record()).rejects.toThrow(/no folder any more/);
  });

  it('is not made if the server refuses it, and the error says why', async () => {
    const { stage, base } = await setUp();
    const { folder, branch, record } = await openAt(stage, base, 'one');
    await writeFile(join(folder, 'a.txt'), 'x');
    const recorded = await record();
    await stage.shell(['config', 'http.receivepack', 'false'], stage.remote);
    await expect(branch.push(recorded?.commit ?? '', 'repobox/1')).rejects.toThrow(/Pushing to .* failed/);
  });
});
