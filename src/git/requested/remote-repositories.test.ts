import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { lstat, mkdir, readdir, readFile, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describeError, GitError, RunnerError } from '../../errors.ts';
import { filesWithSecrets, sampleCommandLines } from '../http-remote.fixture.ts';
import { AUTH, createRemoteStage, PASSWORD, type RemoteStage } from './remote-repositories.fixture.ts';
import { clearRemoteLocks, type RemoteRepository } from './remote-repositories.ts';

const BASIC = Buffer.from(`bot:${PASSWORD}`).toString('base64');
const SECRETS = [PASSWORD, encodeURIComponent(PASSWORD), BASIC];

function open(stage: RemoteStage): Promise<RemoteRepository> {
  return stage.repositories.open({ url: stage.url, auth: AUTH });
}

/** Returns the mirror if there is exactly one. */
async function mirrorOf(stage: RemoteStage): Promise<string> {
  const [name = ''] = (await readdir(stage.mirrors)).filter((entry) => entry.endsWith('.git'));
  return join(stage.mirrors, name);
}

async function truncatePacks(mirror: string): Promise<void> {
  const folder = join(mirror, 'objects/pack');
  const packs = (await readdir(folder)).filter((name) => name.endsWith('.pack'));
  expect(packs).not.toEqual([]);
  for (const name of packs) {
    const { size } = await lstat(join(folder, name));
    await truncate(join(folder, name), Math.floor(size / 2));
  }
}

describe('A repository that a request names', () => {
  it('is checked out at a branch, a tag, a commit, a pull request and HEAD', async () => {
    const stage = await createRemoteStage();
    const first = await stage.commit({ 'a.tf': '1' }, 'First');
    await stage.shell(['tag', 'v1']);
    await stage.shell(['tag', '-a', '-m', 'Annotated', 'v2']);
    const second = await stage.commit({ 'a.tf': '2' }, 'Second');
    await stage.shell([
      'push',
      '-q',
      'origin',
      'v1',
      'v2',
      `${first}:refs/pull/7/head`,
      `${first}:refs/heads/f/x`,
    ]);
    const repository = await open(stage);
    for (const [ref, commit, subject] of [
      ['main', second, 'Second'],
      ['HEAD', second, 'Second'],
      ['refs/heads/main', second, 'Second'],
      ['v1', first, 'First'],
      ['v2', first, 'First'],
      ['refs/tags/v2', first, 'First'],
      ['f/x', first, 'First'],
      ['refs/pull/7/head', first, 'First'],
      [first, first, 'First'],
      [first.toUpperCase(), first, 'First'],
      [second.slice(0, 7), second, 'Second'],
      [first.slice(0, 12), first, 'First'],
    ] as const) {
      expect(await repository.fetch(ref)).toEqual({ commit, subject });
    }
    await repository.checkOut(first, stage.target());
    expect(await readFile(join(stage.target(), 'a.tf'), 'utf8')).toBe('1');
    expect(repository.url).toBe(stage.url);
    expect(await repository.reader.head()).toBe(first);
    expect(stage.warnings).toEqual([]);
  });

  it('prefers a branch to a tag of the same name', async () => {
    const stage = await createRemoteStage();
    const tagged = await stage.commit({ a: '1' });
    await stage.shell(['tag', 'both']);
    const head = await stage.commit({ a: '2' });
    await stage.shell(['push', '-q', 'origin', 'refs/tags/both', 'HEAD:refs/heads/both']);
    const repository = await open(stage);
    expect(await repository.fetch('both')).toMatchObject({ commit: head });
    expect(await repository.fetch('refs/tags/both')).toMatchObject({ commit: tagged });
  });

  it('follows a branch that was forced back, and one whose name became a folder', async () => {
    const stage = await createRemoteStage();
    const base = await stage.commit({ a: '1' });
    await stage.commit({ a: '2' });
    await stage.shell(['push', '-q', 'origin', 'HEAD:refs/heads/x']);
    const repository = await open(stage);
    await repository.fetch('main');
    await repository.fetch('x');
    await stage.shell(['push', '-q', '--force', 'origin', `${base}:refs/heads/main`]);
    await stage.shell(['push', '-q', 'origin', ':refs/heads/x']);
    await stage.shell(['push', '-q', 'origin', `${base}:refs/heads/x/y`]);
    const again = await open(stage);
    expect(await again.fetch('main')).toMatchObject({ commit: base });
    expect(await again.fetch('x/y')).toMatchObject({ commit: base });
    await expect(again.fetch('x')).rejects.toMatchObject({ kind: 'unknown_revision' });
  });

  it.each(['nowhere', 'abcdef1', '0'.repeat(40), 'refs/pull/99/head', 'refs/heads/nowhere'])(
    'names the ref %s that the remote does not have',
    async (ref) => {
      const stage = await createRemoteStage();
      await stage.commit({ a: '1' });
      const repository = await open(stage);
      await expect(repository.fetch(ref)).rejects.toMatchObject({
        kind: 'unknown_revision',
        message: `${ref} is not a branch, tag or commit of ${stage.url}.`,
      });
    },
  );

  it.each(['--upload-pack=touch X', '-x', 'a..b', 'a b', 'main:refs/heads/x', '*', '+main', '^main', ''])(
    'F35: does not ask the remote for the ref %j',
    async (ref) => {
      const stage = await createRemoteStage();
      await stage.commit({ a: '1' });
      const repository = await open(stage);
      await expect(repository.fetch(ref)).rejects.toMatchObject({ kind: 'unknown_revision' });
      if (ref !== '+main') expect(stage.served.admitted).toEqual([]);
    },
  );

  it('does not take a file or a folder for a commit', async () => {
    const stage = await createRemoteStage();
    await stage.commit({ a: '1' });
    const tree = await stage.shell(['rev-parse', 'HEAD^{tree}']);
    await stage.shell(['tag', 'blob', await stage.shell(['rev-parse', 'HEAD:a'])]);
    await stage.shell(['push', '-q', 'origin', 'blob']);
    const repository = await open(stage);
    await repository.fetch('main');
    for (const ref of ['blob', tree]) {
      await expect(repository.fetch(ref)).rejects.toMatchObject({ kind: 'unknown_revision' });
    }
  });

  it('finds a commit that the server does not give by its id', async () => {
    const stage = await createRemoteStage({ protocolVersion2: false });
    const first = await stage.commit({ a: '1' });
    await stage.commit({ a: '2' });
    const repository = await open(stage);
    expect(await repository.fetch(first)).toMatchObject({ commit: first });
    await repository.checkOut(first, stage.target());
    await expect(repository.fetch('1'.repeat(40))).rejects.toMatchObject({ kind: 'unknown_revision' });
  });

  it('lists the paths that differ between two commits', async () => {
    const stage = await createRemoteStage();
    const one = await stage.commit({ 'live/a.tf': '1', 'x\ny': '1', same: '1' });
    const other = await stage.commit({ 'live/a.tf': '2', 'x\ny': null, '-new': '1' });
    const repository = await open(stage);
    await repository.fetch('main');
    expect((await repository.diffNames(one, other)).sort()).toEqual(['-new', 'live/a.tf', 'x\ny']);
    await expect(repository.diffNames(one, '2'.repeat(40))).rejects.toMatchObject({
      kind: 'unknown_revision',
    });
  });

  it('asks the remote once for a branch, and once for a commit that is known', async () => {
    const stage = await createRemoteStage();
    const head = await stage.commit({ a: '1' });
    await (await open(stage)).fetch('main');
    stage.served.admitted.length = 0;
    await (await open(stage)).fetch(head);
    // One connection makes two requests: the greeting and the list of branches.
    expect(stage.served.admitted).toHaveLength(2);
    stage.served.admitted.length = 0;
    const repository = await open(stage);
    await repository.fetch('main');
    await repository.checkOut(head, stage.target());
    expect(stage.served.admitted).toHaveLength(2);
  });
});

describe('The cache of repositories', () => {
  it('shows nothing to a user that the remote does not admit', async () => {
    const stage = await createRemoteStage();
    const head = await stage.commit({ secret: '1' });
    await (await open(stage)).fetch('main');
    for (const auth of [null, { ...AUTH, password: 'wrong' } as const]) {
      const uses: ((repository: RemoteRepository) => Promise<unknown>)[] = [
        (repository) => repository.fetch(head),
        (repository) => repository.fetch('main'),
        (repository) => repository.checkOut(head, stage.target()),
        (repository) => repository.diffNames(head, head),
        (repository) => repository.reader.listTree(head),
        (repository) => repository.reader.commit(head),
      ];
      for (const use of uses) {
        const repository = await stage.repositories.open({ url: stage.url, auth });
        const error: unknown = await use(repository).then(
          () => null,
          (reason: unknown) => reason,
        );
        expect(error).toMatchObject({ kind: 'unavailable' });
        expect(describeError(error)).toMatch(/Check the address of the repository and the credentials/);
      }
    }
    await expect(lstat(stage.target())).rejects.toThrow();
  });

  it('keeps one mirror for each address', async () => {
    const stage = await createRemoteStage();
    const head = await stage.commit({ a: '1' });
    await (await open(stage)).fetch('main');
    const other = await stage.repositories.open({ url: `file://${stage.remote}`, auth: null });
    await other.fetch(head);
    await (await stage.repositories.open({ url: `http://bot:x@${stage.host}/r.git`, auth: AUTH })).fetch(
      'main',
    );
    expect((await readdir(stage.mirrors)).sort()).toEqual([
      expect.stringMatching(/^[0-9a-f]{32}\.git$/),
      expect.stringMatching(/^[0-9a-f]{32}\.git$/),
    ]);
  });

  it('serves many at once', async () => {
    const stage = await createRemoteStage();
    const first = await stage.commit({ a: '1' });
    const second = await stage.commit({ a: '2' });
    await stage.shell(['push', '-q', 'origin', `${first}:refs/heads/old`]);
    const refs = ['main', 'old', first, second, 'main', 'old', 'HEAD', second.slice(0, 8)];
    const contents = await Promise.all(
      refs.map(async (ref, index) => {
        const repository = await open(stage);
        const { commit } = await repository.fetch(ref);
        await repository.checkOut(commit, stage.target(`run-${index}`));
        return readFile(join(stage.target(`run-${index}`), 'a'), 'utf8');
      }),
    );
    expect(contents).toEqual(['2', '1', '1', '2', '2', '1', '2', '2']);
    expect(await readdir(stage.mirrors)).toHaveLength(1);
    expect(stage.warnings).toEqual([]);
  });

  it('F34: is rebuilt when a checkout meets damage', async () => {
    const stage = await createRemoteStage();
    const head = await stage.commit({ a: 'x'.repeat(50_000), b: '1' });
    await (await open(stage)).fetch('main');
    await truncatePacks(await mirrorOf(stage));
    const repository = await open(stage);
    await repository.checkOut(head, stage.target());
    expect(await readFile(join(stage.target(), 'b'), 'utf8')).toBe('1');
    expect(stage.warnings).toContain('The mirror is damaged and is rebuilt');
    expect(await readdir(stage.mirrors)).toHaveLength(1);
  });

  it('F34: is rebuilt when only the content of a file is damaged', async () => {
    const stage = await createRemoteStage();
    const head = await stage.commit({ a: randomBytes(50_000).toString('hex') });
    await (await open(stage)).fetch('main');
    const folder = join(await mirrorOf(stage), 'objects/pack');
    const pack = join(folder, (await readdir(folder)).find((name) => name.endsWith('.pack')) ?? '');
    const content = await readFile(pack);
    const middle = Math.floor(content.length / 2);
    content.fill(0, middle, middle + 100);
    await rm(pack);
    await writeFile(pack, content);
    const repository = await open(stage);
    expect(await repository.fetch('main')).toMatchObject({ commit: head });
    await repository.checkOut(head, stage.target());
    expect(stage.warnings).toEqual(['The mirror is damaged and is rebuilt']);
    expect((await lstat(join(stage.target(), 'a'))).size).toBe(100_000);
  });

  it('F34: is rebuilt when a fetch or a question meets damage', async () => {
    const stage = await createRemoteStage();
    const head = await stage.commit({ a: 'x'.repeat(50_000) });
    await (await open(stage)).fetch('main');
    await truncatePacks(await mirrorOf(stage));
    const next = await stage.commit({ a: 'y'.repeat(50_000) });
    const repository = await open(stage);
    expect(await repository.fetch('main')).toMatchObject({ commit: next });
    await truncatePacks(await mirrorOf(stage));
    expect((await repository.reader.listTree(next)).map(({ path }) => path)).toEqual(['a']);
    expect(await repository.diffNames(head, next)).toEqual(['a']);
  });

  it('F33: ignores the lock of a git that was killed, and half of a pack', async () => {
    const stage = await createRemoteStage();
    await stage.commit({ a: '1' });
    await (await open(stage)).fetch('main');
    const mirror = await mirrorOf(stage);
    const [ref = ''] = await readdir(join(mirror, 'refs/fetched'));
    for (const lock of [
      'config.lock',
      'HEAD.lock',
      'shallow.lock',
      'packed-refs.lock',
      `refs/fetched/${ref}.lock`,
    ]) {
      await writeFile(join(mirror, lock), '');
    }
    await writeFile(join(mirror, 'objects/pack/tmp_pack_abc'), 'x');
    await mkdir(`${mirror}.new-dead`);
    await mkdir(`${mirror}.lock`);
    await clearRemoteLocks(stage.mirrors);
    const head = await stage.commit({ a: '2' });
    expect(await (await open(stage)).fetch('main')).toMatchObject({ commit: head });
    expect(await readdir(join(mirror, 'objects/pack'))).not.toContain('tmp_pack_abc');
    expect(await readdir(stage.mirrors)).toHaveLength(1);
  });

  it('trusts nothing that was planted in it', async () => {
    const stage = await createRemoteStage();
    const head = await stage.commit({ a: '1' });
    await (await open(stage)).fetch('main');
    const mirror = await mirrorOf(stage);
    await writeFile(
      join(mirror, 'config'),
      `[core]\n\tsshCommand = touch ${stage.root}/canary\n\tbare = true\n`,
    );
    await mkdir(join(mirror, 'hooks'));
    await writeFile(join(mirror, 'hooks/post-checkout'), `#!/bin/sh\ntouch ${stage.root}/canary\n`, {
      mode: 0o755,
    });
    await symlink('/etc', join(mirror, 'refs/heads'));
    const next = await stage.commit({ a: '2' });
    const repository = await open(stage);
    await repository.checkOut(head, stage.target());
    expect(await repository.fetch('main')).toMatchObject({ commit: next });
    await expect(lstat(join(stage.root, 'canary'))).rejects.toThrow();
    await expect(lstat(join(mirror, 'hooks'))).rejects.toThrow();
  });

  it('stays small: it has few packs and names, and nothing that nobody uses', async () => {
    const stage = await createRemoteStage();
    const repository = await open(stage);
    for (let index = 0; index < 43; index += 1) {
      await stage.commit({ a: String(index) });
      await repository.fetch('main');
    }
    const mirror = await mirrorOf(stage);
    const packs = (await readdir(join(mirror, 'objects/pack'))).filter((name) => name.endsWith('.pack'));
    expect(packs.length).toBeLessThan(40);
    const head = await stage.shell(['rev-parse', 'HEAD']);
    for (let index = 0; index < 250; index += 1) {
      await writeFile(join(mirror, 'refs/fetched', `old${index}`), `${head}\n`);
    }
    await repository.fetch('main');
    expect((await readdir(join(mirror, 'refs/fetched'))).length).toBe(200);

    await stage.repositories.removeUnused(3_600_000);
    expect(await readdir(stage.mirrors)).toHaveLength(1);
    const longAgo = new Date(Date.now() - 7_200_000);
    await utimes(mirror, longAgo, longAgo);
    await stage.repositories.removeUnused(3_600_000);
    expect(await readdir(stage.mirrors)).toEqual([]);
    // A run that still works with the mirror gets it back.
    const { commit } = await repository.fetch('main');
    await repository.checkOut(commit, stage.target());
  });

  it('stops at once when it is cancelled', async () => {
    const stage = await createRemoteStage();
    await stage.commit({ a: '1' });
    const cancel = new AbortController();
    const asked = Promise.withResolvers<void>();
    stage.onRequest(async () => {
      asked.resolve();
      if (!cancel.signal.aborted) await once(cancel.signal, 'abort');
    });
    const repository = await open(stage);
    const first = repository.fetch('main', cancel.signal);
    const second = (await open(stage)).fetch('main', cancel.signal);
    const settled = Promise.allSettled([first, second]);
    await asked.promise;
    cancel.abort(new Error('cancelled by somebody'));
    const cancelled = {
      status: 'rejected',
      reason: expect.objectContaining({ message: 'cancelled by somebody' }),
    };
    expect(await settled).toEqual([cancelled, cancelled]);
    stage.onRequest(async () => undefined);
    await (await open(stage)).fetch('main');
  });
});

describe('A checkout', () => {
  it('stands alone, in a folder for this user only', async () => {
    const stage = await createRemoteStage();
    await stage.commit({ a: '1', 'dir/b': '1' }, 'First');
    await stage.commit({ a: '2' }, 'Second');
    const repository = await open(stage);
    const { commit } = await repository.fetch('main');
    const target = stage.target();
    await repository.checkOut(commit, target);
    await expect(lstat(join(target, '.git/objects/info/alternates'))).rejects.toThrow();
    await stage.repositories.removeUnused(-1);
    expect(await readdir(stage.mirrors)).toEqual([]);

    expect((await lstat(target)).mode & 0o777).toBe(0o700);
    expect(await stage.shell(['status', '--porcelain'], target)).toBe('');
    expect(await stage.shell(['log', '--format=%H %s'], target)).toBe(`${commit} Second`);
    expect(await stage.shell(['fsck', '--full', '--strict'], target)).toBe('');
    expect(await stage.shell(['remote', 'get-url', 'origin'], target)).toBe(stage.url);
    expect(await stage.shell(['show', 'HEAD:dir/b'], target)).toBe('1');
  });

  it('is not made in a place where something exists', async () => {
    const stage = await createRemoteStage();
    const head = await stage.commit({ a: '1' });
    const repository = await open(stage);
    await repository.fetch('main');
    await mkdir(stage.target(), { recursive: true });
    await expect(repository.checkOut(head, stage.target())).rejects.toMatchObject({ kind: 'unavailable' });
    await symlink(stage.root, stage.target('link'));
    await expect(repository.checkOut(head, stage.target('link'))).rejects.toMatchObject({
      kind: 'unavailable',
    });
    await expect(repository.checkOut('main', stage.target('x'))).rejects.toMatchObject({
      kind: 'unknown_revision',
    });
  });

  it('F37: follows no submodule, whatever .gitmodules says', async () => {
    const stage = await createRemoteStage();
    const canary = join(stage.root, 'canary');
    await stage.commit({ a: '1' });
    await stage.shell(['update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},modules/sub`]);
    await writeFile(
      join(stage.source, '.gitmodules'),
      `[submodule "../../x"]\n\tpath = modules/sub\n\turl = ext::sh -c touch% ${canary}\n\tupdate = !touch ${canary}\n`,
    );
    await stage.shell(['add', '.gitmodules']);
    await stage.shell(['commit', '-q', '-m', 'Submodule']);
    await stage.shell(['push', '-q', 'origin', 'HEAD:refs/heads/main']);
    const repository = await open(stage);
    const { commit } = await repository.fetch('main');
    await repository.checkOut(commit, stage.target());
    expect(await readdir(join(stage.target(), 'modules/sub'))).toEqual([]);
    expect(await readdir(join(stage.target(), '.git'))).not.toContain('modules');
    await expect(lstat(canary)).rejects.toThrow();
  });

  it('F40c: runs no filter that the repository asks for, and keeps odd names and links as they are', async () => {
    const stage = await createRemoteStage();
    await stage.commit({ '.gitattributes': '* filter=evil\n', 'ü "x"\n.tf': '1', '-rf': '2' });
    await symlink('/etc/passwd', join(stage.source, 'leak.tfvars'));
    await stage.shell(['add', '-A']);
    await stage.shell(['commit', '-q', '-m', 'Link']);
    await stage.shell(['push', '-q', 'origin', 'HEAD:refs/heads/main']);
    const repository = await open(stage);
    const { commit } = await repository.fetch('main');
    await repository.checkOut(commit, stage.target());
    expect((await readdir(stage.target())).sort()).toEqual(
      ['-rf', '.git', '.gitattributes', 'leak.tfvars', 'ü "x"\n.tf'].sort(),
    );
    expect((await lstat(join(stage.target(), 'leak.tfvars'))).isSymbolicLink()).toBe(true);
  });
});

describe('F41: credentials of a request', () => {
  it('F41: are in no command line and no file, neither while git speaks nor afterwards', async () => {
    const stage = await createRemoteStage();
    await stage.commit({ a: 'x'.repeat(100_000) });
    const samples = new Set<string>();
    stage.onRequest(() => sampleCommandLines(samples));
    const repository = await open(stage);
    const { commit } = await repository.fetch('main');
    await repository.checkOut(commit, stage.target());
    await repository.release();
    expect([...samples].some((line) => line.includes('remote-http'))).toBe(true);
    expect([...samples].filter((line) => SECRETS.some((secret) => line.includes(secret)))).toEqual([]);
    expect(await filesWithSecrets(stage.root, SECRETS)).toEqual([]);
  });

  it('F41: are in no error', async () => {
    const stage = await createRemoteStage();
    await stage.commit({ a: '1' });
    const wrong = { ...AUTH, username: 'nobody' } as const;
    const repository = await stage.repositories.open({ url: stage.url, auth: wrong });
    const error: unknown = await repository.fetch('main').catch((reason: unknown) => reason);
    expect(error).toMatchObject({ kind: 'unavailable' });
    const text = `${describeError(error)} ${JSON.stringify(error)}`;
    for (const secret of [PASSWORD, encodeURIComponent(PASSWORD)]) expect(text).not.toContain(secret);
  });

  it('are those of the URL when there are no others', async () => {
    const stage = await createRemoteStage();
    const head = await stage.commit({ a: '1' });
    const url = `http://bot:${encodeURIComponent(PASSWORD)}@${stage.host}/r.git`;
    const repository = await stage.repositories.open({ url, auth: null });
    expect(await repository.fetch('main')).toMatchObject({ commit: head });
    expect(repository.url).toBe(stage.url);
    expect(await filesWithSecrets(stage.mirrors, SECRETS)).toEqual([]);
  });

  it("are never the operator's", async () => {
    const stage = await createRemoteStage();
    await stage.commit({ a: '1' });
    await writeFile(join(stage.root, '.netrc'), `machine 127.0.0.1 login bot password ${PASSWORD}\n`);
    const repository = await stage.repositories.open({ url: stage.url, auth: null });
    await expect(repository.fetch('main')).rejects.toMatchObject({ kind: 'unavailable' });
    expect(stage.served.admitted).toEqual([]);
  });

  it('must fit the address', async () => {
    const stage = await createRemoteStage();
    const ssh = { type: 'ssh', privateKey: 'x', knownHosts: null } as const;
    for (const [url, auth] of [
      [stage.url, ssh],
      [`file://${stage.remote}`, AUTH],
      [`ssh://git@${stage.host}/r.git`, AUTH],
      [`ssh://git@${stage.host}/r.git`, null],
    ] as const) {
      const error: unknown = await stage.repositories.open({ url, auth }).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(RunnerError);
      expect(error).not.toBeInstanceOf(GitError);
    }
  });
});

describe('F36: addresses', () => {
  it.each([
    'ext::sh -c touch% canary',
    '/srv/r.git',
    'http://127.0.0.2:1/r',
    '--upload-pack=x',
    'git://127.0.0.1/r',
  ])('F36: does not open %j', async (url) => {
    const stage = await createRemoteStage();
    await expect(stage.repositories.open({ url, auth: null })).rejects.toBeInstanceOf(RunnerError);
  });

  it('does not open a name that leads to this machine', async () => {
    const stage = await createRemoteStage({ hosts: () => [] });
    await expect(
      stage.repositories.open({ url: stage.url.replace('127.0.0.1', '127.1'), auth: null }),
    ).rejects.toThrow('not a public one');
  });
});
