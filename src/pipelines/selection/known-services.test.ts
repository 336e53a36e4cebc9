import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { GitError } from '../../errors.ts';
import { createGit } from '../../git/git.ts';
import { createMirror, type Mirror } from '../../git/own/mirror.ts';
import { captureProcess } from '../../process/capture.ts';
import { createKnownServices } from './known-services.ts';

/** A branch with one service, and counts of what is asked of git about it. */
async function createWorld() {
  const folder = await mkdtemp(path.join(tmpdir(), 'known-services-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  const remote = path.join(folder, 'remote.git');
  await mkdir(remote);
  const plumbing = { path: process.env.PATH ?? '', home: folder };
  const git = createGit({ ...plumbing, remote: { url: remote, token: null }, timeoutMs: 30_000 });
  async function shell(args: readonly string[], input = ''): Promise<void> {
    const result = await captureProcess({
      argv: ['git', ...args],
      cwd: remote,
      env: { PATH: plumbing.path, HOME: folder, GIT_CONFIG_NOSYSTEM: '1' },
      timeoutMs: 30_000,
      input,
    });
    if (result.kind !== 'exited' || result.exitCode !== 0) throw new Error(JSON.stringify(result));
  }
  await shell(['init', '--quiet', '--bare']);
  let commits = 0;
  async function push(service: string, rules = '', wave = '01'): Promise<void> {
    commits += 1;
    const from = commits > 1 ? 'from refs/heads/main^0\n' : '';
    const deploy = `M 100644 inline platform/${wave}.${service}/deploy.py\ndata 0\n\n`;
    const file = rules && `M 100644 inline .iac-runner.yaml\ndata ${rules.length}\n${rules}\n`;
    const header = 'commit refs/heads/main\ncommitter T <t@example.com> 0 +0000\ndata 0\n';
    await shell(['fast-import', '--quiet'], `${header}${from}${deploy}${file}`);
  }
  const counts = { looks: 0, failures: 0 };
  const real = createMirror({
    git,
    directory: path.join(folder, 'mirror.git'),
    followed: { branch: 'main' },
    log: { warn: () => undefined },
  });
  const mirror: Mirror = {
    ...real,
    async listLevel(...question) {
      counts.looks += 1;
      counts.failures -= 1;
      if (counts.failures >= 0) throw new GitError('unavailable', 'git was killed');
      return real.listLevel(...question);
    },
  };
  return { push, mirror, counts };
}

it('1,001 questions at once about the same commit cost one look', async () => {
  const { push, mirror, counts } = await createWorld();
  await push('redis');
  await mirror.fetch();
  const { services } = createKnownServices({ mirror, environment: null, lastGoodRules: async () => null });
  const asked = Array.from({ length: 1_001 }, () => services(['platform/redis']));
  for (const { runnable } of await Promise.all(asked)) expect(runnable).toEqual(['platform/redis']);
  expect(counts.looks).toBe(1);
});

it('the beginning of an id names the commits of the branch that have it, and no trees', async () => {
  const { push, mirror } = await createWorld();
  await push('redis');
  const { commitsBeginningWith } = createKnownServices({
    mirror,
    environment: null,
    lastGoodRules: async () => null,
  });
  // The first question fetches the branch.
  expect(await commitsBeginningWith('0000000')).toEqual([]);
  const head = (await mirror.head()) ?? '';
  expect(await commitsBeginningWith(head.slice(0, 7))).toEqual([head]);
  const { tree } = await mirror.commit(head);
  expect(await commitsBeginningWith(tree.slice(0, 10))).toEqual([]);
});

it('another head, or other rules, need a new look', async () => {
  const { push, mirror } = await createWorld();
  await push('redis', 'rules: [broken');
  await mirror.fetch();
  let lastGood: string | null = null;
  const { services, known } = createKnownServices({
    mirror,
    environment: null,
    lastGoodRules: async () => lastGood,
  });
  expect(await services(['platform/redis'])).toEqual({
    runnable: ['platform/redis'],
    excluded: [],
    ambiguous: new Map(),
  });
  lastGood = 'exclude: [platform/redis]\n';
  expect(await services(['platform/redis'])).toEqual({
    runnable: [],
    excluded: ['platform/redis'],
    ambiguous: new Map(),
  });
  await push('vault');
  expect((await services(['platform/vault'])).runnable).toEqual(['platform/vault']);
  expect(await known()).toEqual(['platform/vault']);
});

it('an id that two folders have is reported with both of them, and does not run', async () => {
  const { push, mirror } = await createWorld();
  await push('redis');
  await push('redis', '', '07');
  const { services } = createKnownServices({ mirror, environment: null, lastGoodRules: async () => null });
  expect(await services(['platform/redis'])).toEqual({
    runnable: [],
    excluded: [],
    ambiguous: new Map([
      [
        'platform/redis',
        'Two folders claim the id platform/redis: platform/01.redis and platform/07.redis. Rename one of them.',
      ],
    ]),
  });
});

it('a look that fails reports the cause', async () => {
  const { push, mirror } = await createWorld();
  await push('redis');
  const cause = { nextAction: 'Free space there, or lower DISK_FLOOR_MB.' };
  const full = new GitError('disk_full', '3 MiB are free at /data, less than the 512 kept free.', cause);
  const { services } = createKnownServices({
    mirror: { ...mirror, fetch: () => Promise.reject(full) },
    environment: null,
    lastGoodRules: async () => null,
  });
  await expect(services([])).rejects.toMatchObject({
    status: 503,
    message: `What was named cannot be looked up: ${full.message} ${cause.nextAction}`,
  });
});

it('a look that failed is not remembered', async () => {
  const { push, mirror, counts } = await createWorld();
  await push('redis');
  await mirror.fetch();
  const { services, known } = createKnownServices({
    mirror,
    environment: null,
    lastGoodRules: async () => null,
  });
  counts.failures = Number.POSITIVE_INFINITY;
  const asked = await Promise.allSettled([known(), services(['platform/redis'])]);
  expect(asked.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  counts.failures = 0;
  expect(await known()).toEqual(['platform/redis']);
});
