/** `iac-runner explain` in a clone gives the same answer as a sync, without a server and without leaving a file. */

import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createPlatformRepository, type PlatformRepository } from './support/platform-repository.ts';
import { appendLine, FOLDERS } from './support/platform-services.ts';
import { runProgram } from './support/runner.ts';

const jsonSchema = z.object({
  from: z.string().nullable(),
  to: z.string(),
  services: z.array(
    z.object({
      service: z.string(),
      decision: z.string(),
      because: z.string(),
      paths: z.array(z.object({ path: z.string(), rule: z.string().nullable() })),
    }),
  ),
  unmatched: z.array(z.string()),
  notes: z.array(z.string()),
  problems: z.array(z.string()),
});

describe('explain', () => {
  let folder = '';
  let repository: PlatformRepository;
  let first = '';

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'iac-runner-explain-test-'));
    repository = await createPlatformRepository(folder);
    first = await repository.head();
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** There is no secret and no configuration, only the environment of any shell. */
  async function explain(...args: string[]) {
    const options = { folder, repositoryPath: repository.path, invoke: ['invoke'] };
    const nothing = ['WEBHOOK_SECRET', 'GIT_REPO_URL', 'WORKSPACE_DIR', 'DATA_DIR', 'API_TOKENS'];
    const environment = Object.fromEntries(nothing.map((name) => [name, undefined]));
    return runProgram(['explain', '-C', repository.clone, ...args], { ...options, environment });
  }

  async function explainJson(...args: string[]) {
    const { exitCode, stdout } = await explain('--json', ...args);
    return { exitCode, ...jsonSchema.parse(JSON.parse(stdout)) };
  }

  function running(services: { service: string; decision: string }[]): string[] {
    return services.filter(({ decision }) => decision === 'run').map(({ service }) => service);
  }

  it('shows file → rule → service → decision between two commits', async () => {
    await appendLine(repository, `${FOLDERS['platform/redis']}/compose.yaml`, '# more');
    await repository.write('README.md', 'Words.\n');
    const second = await repository.commit('More redis');
    const { exitCode, stdout } = await explain(`${first}..HEAD`);
    expect(exitCode).toBe(0);
    expect(stdout.split('\n')).toEqual([
      `Syncing ${second.slice(0, 8)} after ${first.slice(0, 8)} would run 1 of 13 service(s).`,
      '',
      `platform/redis: run. Files in platform/01.redis changed since ${first.slice(0, 8)}.`,
      '  platform/01.redis/compose.yaml → platform/{nn}.{service}/deploy.py → platform/redis → run',
      '',
      '12 service(s) not chosen; --all lists them.',
      '',
      'Changed files that belong to no service:',
      '  README.md',
    ]);
    const all = await explain('--all', `${first}..HEAD`);
    expect(all.stdout).toContain(
      'bootstrap/iac-runner: excluded. Its rule lists such folders, but never runs them.',
    );
    expect(all.stdout).toContain('platform/minio: not chosen. Unchanged since ');
    // For a commit on the branch, explain shows the changes of that commit.
    expect(running((await explainJson('HEAD')).services)).toEqual(['platform/redis']);
    expect((await explain('--all', 'HEAD..HEAD')).stdout).toContain('would run 0 of 13');
  });

  it('compares a branch with the point where it left the deployed branch', async () => {
    await repository.push();
    await repository.git('checkout', '--quiet', '-b', 'feature');
    await appendLine(repository, `${FOLDERS['platform/vault']}/compose.yaml`, '# more');
    await repository.commit('More vault');
    await repository.git('checkout', '--quiet', 'main');
    await appendLine(repository, `${FOLDERS['platform/minio']}/compose.yaml`, '# more');
    await repository.commit('More minio');
    await repository.push();
    expect(running((await explainJson('feature')).services)).toEqual(['platform/vault']);
    expect(running((await explainJson('--branch', 'main', 'feature')).services)).toEqual(['platform/vault']);
    expect(running((await explainJson('main...feature')).services)).toEqual(['platform/vault']);
    const ends = await explainJson('main..feature');
    expect(running(ends.services)).toEqual(['platform/minio', 'platform/vault']);
  });

  it('shows uncommitted changes of a folder, and leaves no file behind', async () => {
    await repository.write('libs/console.py', '# shared\n');
    await repository.write('platform/09.new/deploy.py', '# new\n');
    await repository.write('platform/09.new/__pycache__/x.pyc', 'ignored');
    await repository.remove('platform/04.dashy');
    const { exitCode, services, unmatched } = await explainJson('--worktree', `${repository.clone}/platform`);
    expect(exitCode).toBe(0);
    expect(running(services)).toHaveLength(12);
    expect(services.find(({ service }) => service === 'platform/dashy')?.decision).toBe('removed');
    expect(services.find(({ service }) => service === 'platform/new')).toMatchObject({
      decision: 'run',
      paths: [
        { path: 'platform/09.new/deploy.py', rule: 'platform/{nn}.{service}/deploy.py' },
        { path: 'libs/console.py', rule: 'libs' },
      ],
    });
    expect(unmatched).toEqual([]);
    expect(await repository.git('status', '--short')).toContain(' D platform/04.dashy');
    expect(await readdir(join(folder, 'tmp'))).toEqual([]);
    await repository.git('reset', '--quiet', '--hard');
    await repository.git('clean', '--quiet', '-fd');
  });

  it('exits with 1 for broken rules, naming line and field, and for an id that is claimed twice', async () => {
    await repository.write('.iac-runner.yaml', 'shared:\n  - libs\ntimeouts:\n  platform/redis: long\n');
    const broken = await explain('--worktree', repository.clone);
    expect(broken.exitCode).toBe(1);
    expect(broken.stderr).toMatch(/^\.iac-runner\.yaml line 4, timeouts\.platform\/redis: /);
    await repository.remove('.iac-runner.yaml');
    await repository.write('platform/09.redis/deploy.py', '# twice\n');
    const twice = await explain('--worktree', repository.clone);
    expect(twice.exitCode).toBe(1);
    expect(twice.stdout).toContain('Two folders claim the id platform/redis');
    await repository.remove('platform/09.redis');
  });

  it('refuses options that it does not know, with 2', async () => {
    for (const args of [[], ['nope'], ['HEAD..nope'], ['HEAD', 'HEAD'], ['--upload-pack=x', 'HEAD']]) {
      expect([args, (await explain(...args)).exitCode]).toEqual([args, 2]);
    }
  });
});
