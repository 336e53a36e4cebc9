import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkedId, createGit } from './git.ts';
import { PATH, temporaryDirectory } from './test-support.ts';

async function someGit(
  options: { path?: string; network?: Record<string, string>; timeoutMs?: number } = {},
) {
  const root = await temporaryDirectory();
  const git = createGit({
    path: options.path ?? PATH,
    home: root,
    remote: { url: 'https://github.com/o/r.git', token: 'ghp_CANARY' },
    timeoutMs: options.timeoutMs ?? 30_000,
    network: options.network ?? {},
  });
  return { git, root };
}

/** A program called git that prints its environment, or sleeps. */
async function fakeGit(script: string): Promise<string> {
  const directory = await temporaryDirectory();
  await writeFile(join(directory, 'git'), `#!/bin/sh\n${script}\n`);
  await chmod(join(directory, 'git'), 0o755);
  return `${directory}:${PATH}`;
}

describe('createGit', () => {
  it('F36: passes nothing of its own environment to git, and credentials only to commands that talk to a remote', async () => {
    const planted = {
      GIT_ALLOW_PROTOCOL: 'ext',
      GIT_DIR: '/nowhere',
      GIT_CONFIG_PARAMETERS: "'alias.x=!id'",
    };
    Object.assign(process.env, planted);
    try {
      const network = { https_proxy: 'http://proxy:3128', GIT_SSH: '/bin/evil' };
      const { git, root } = await someGit({ path: await fakeGit('env -0'), network });
      const names = async (remote: boolean) => {
        const { stdout } = await git.run(['x'], { gitDirectory: root, remote });
        return stdout.toString().split('\0');
      };
      const local = await names(false);
      const remote = await names(true);
      for (const environment of [local, remote]) {
        expect(environment).toContain('GIT_CONFIG_GLOBAL=/dev/null');
        expect(environment).toContain('https_proxy=http://proxy:3128');
        expect(environment.filter((line) => /^(GIT_DIR|GIT_SSH|GIT_CONFIG_PARAMETERS)=/.test(line))).toEqual(
          [],
        );
      }
      expect(local).toContain('GIT_ALLOW_PROTOCOL=none');
      expect(remote).toContain('GIT_ALLOW_PROTOCOL=https');
      expect(local.filter((line) => line.includes('Authorization'))).toEqual([]);
      expect(remote.filter((line) => line.includes('Authorization: Basic'))).toHaveLength(1);
    } finally {
      for (const name of Object.keys(planted)) delete process.env[name];
    }
  });

  it('reports that git is missing, that it hangs, and that it was cancelled', async () => {
    const missing = await someGit({ path: '/nonexistent' });
    await expect(missing.git.run(['version'], { gitDirectory: missing.root })).rejects.toMatchObject({
      kind: 'unavailable',
      nextAction: expect.stringContaining('Install git'),
    });
    const slow = await someGit({ path: await fakeGit('exec sleep 60'), timeoutMs: 300 });
    await expect(slow.git.run(['fetch'], { gitDirectory: slow.root })).rejects.toThrow(
      'did not end within 0.3 s',
    );
    const patient = await someGit({ path: await fakeGit('exec sleep 60') });
    const controller = new AbortController();
    const running = patient.git.run(['fetch'], { gitDirectory: patient.root, signal: controller.signal });
    controller.abort(new Error('drained'));
    await expect(running).rejects.toThrow('drained');
  });

  it('never searches upwards for another repository', async () => {
    const { git, root } = await someGit();
    await git.read('init', ['init', '-q'], { gitDirectory: join(root, '.git'), workTree: root });
    await expect(
      git.read('Reading failed', ['rev-parse', '--git-dir'], { gitDirectory: join(root, 'sub/.git') }),
    ).rejects.toMatchObject({ kind: 'broken' });
  });
});

describe('checkedId', () => {
  it.each(['', 'main', '-1', 'a'.repeat(39), 'A'.repeat(40), `${'a'.repeat(40)}\n`, `${'a'.repeat(40)}^`])(
    'F35: refuses %j as a revision',
    (revision) => {
      expect(() => checkedId(revision)).toThrow('not a full commit id');
    },
  );
});
