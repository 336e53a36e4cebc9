/** The example platform under a real invoke. */

import { createHash } from 'node:crypto';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { openJournal, parseJournal } from './journal.ts';
import { obtainedInvoke } from './obtained.ts';
import { createPlatformRepository, type PlatformRepository } from './platform-repository.ts';
import { makeTemporaryFolder, removeFolder } from './temporary-folder.ts';

let folder: string;
let repository: PlatformRepository;

beforeEach(async () => {
  folder = await makeTemporaryFolder('example');
  onTestFinished(() => removeFolder(folder));
  repository = await createPlatformRepository(folder);
  await mkdir(join(folder, 'state'));
});

/** Runs a task as iac-runner does: in the checkout, which is also on PYTHONPATH, with a closed environment. */
async function invoke(args: string[], environment: Record<string, string> = {}) {
  const [program = '', ...first] = obtainedInvoke();
  const { PATH = '' } = process.env;
  const env = {
    PATH,
    HOME: folder,
    LANG: 'C.UTF-8',
    PYTHONPATH: repository.clone,
    INTERNAL_DOMAIN: 'example.com',
    IAC_EXAMPLE_STATE: join(folder, 'state'),
    ...environment,
  };
  return execa(program, [...first, ...args], { cwd: repository.clone, env, extendEnv: false, reject: false });
}

describe('the services', () => {
  it('are all found by their folders', async () => {
    const { stdout } = await invoke(['--list', '--list-format=flat']);
    const syncs = [...stdout.matchAll(/([\w.-]+)\.sync/g)].map((match) => match[1]);
    expect(syncs.toSorted()).toEqual(
      [
        ...['postgres', 'redis', 'clickhouse', 'minio', 'vault', 'authentik', 'activepieces', 'dashy'],
        ...['uptime-kuma', 'signoz', 'fr-postgres', 'fr-app'],
      ].toSorted(),
    );
    expect(stdout).toContain('iac-runner.setup');
    expect(stdout).not.toContain('iac-runner.sync');
  });

  it('are created, then skipped, then updated, and report it in the result file', async () => {
    const resultFile = join(folder, 'result.json');
    const results: unknown[] = [];
    for (const domain of ['example.com', 'example.com', 'example.org']) {
      const environment = { IAC_RESULT_FILE: resultFile, INTERNAL_DOMAIN: domain };
      const { exitCode, stdout } = await invoke(['fr-app.sync'], environment);
      expect(exitCode).toBe(0);
      expect(stdout).toContain('\u001b[32m');
      results.push(JSON.parse(await readFile(resultFile, 'utf8')));
    }
    expect(results).toMatchObject([{ action: 'created' }, { action: 'skipped' }, { action: 'updated' }]);
    const rendered = await readFile(join(folder, 'state/finance_report/app/compose.yaml'), 'utf8');
    expect(rendered).toContain('Host(`report.example.org`)');
    expect(rendered).toMatch(/:\$\{POSTGRES_PASSWORD\}@/);
  });

  it('take the config hash that they receive, and otherwise compute the same one', async () => {
    const compose = await readFile(join(repository.clone, 'platform/05.signoz/compose.yaml'), 'utf8');
    const hash = createHash('sha256')
      .update(`${compose}\n---ENV---\nINTERNAL_DOMAIN=example.com`)
      .digest('hex');
    expect((await invoke(['signoz.sync'])).stdout).toContain(`none → ${hash.slice(0, 12)}`);
    expect((await invoke(['signoz.sync'], { IAC_CONFIG_HASH: 'efb2ebedb477' })).stdout).toContain(
      '→ efb2ebedb477',
    );
  });

  it('fail independently: a broken compose file or deploy.py harms no other service', async () => {
    await repository.write('platform/01.redis/compose.yaml', 'services: {}\n');
    await repository.write('platform/02.minio/deploy.py', 'import nothing_of_this_name\n');
    const resultFile = join(folder, 'result.json');
    const redis = await invoke(['redis.sync'], { IAC_RESULT_FILE: resultFile });
    expect(redis.exitCode).toBe(1);
    expect(redis.stdout).toContain('compose.yaml names no image');
    expect(JSON.parse(await readFile(resultFile, 'utf8'))).toMatchObject({ action: 'failed' });
    const minio = await invoke(['minio.sync']);
    expect(minio.exitCode).toBe(1);
    expect(minio.stderr).toContain('platform/02.minio/deploy.py cannot be loaded');
    expect((await invoke(['postgres.sync'])).exitCode).toBe(0);
  });

  it('leave nothing in the checkout', async () => {
    await invoke(['postgres.sync'], { IAC_JOURNAL: join(folder, 'journal') });
    expect(await repository.git('status', '--porcelain', '--ignored')).toBe('');
  });
});

describe('the journal', () => {
  it('shows which sync ran when and at which commit, and that two syncs of one service overlapped', async () => {
    const journal = openJournal(join(folder, 'journal'));
    const environment = { IAC_JOURNAL: journal.path, IAC_EXAMPLE_SLEEP_MS: '1500' };
    const other = join(folder, 'other-state');
    const both = Promise.all([
      invoke(['redis.sync'], environment),
      invoke(['redis.sync'], { ...environment, IAC_EXAMPLE_STATE: other }),
      invoke(['postgres.sync'], environment),
    ]);
    const first = await journal.waitForStart('platform/redis');
    expect(first.commit).toBe(await repository.head());
    await both;
    const { syncs, overlaps } = await journal.read();
    expect(overlaps).toEqual(['platform/redis']);
    expect(syncs.map(({ service }) => service).toSorted()).toEqual([
      'platform/postgres',
      'platform/redis',
      'platform/redis',
    ]);
    expect(syncs.every(({ startedNs, endedNs }) => endedNs !== null && endedNs > startedNs)).toBe(true);
  });

  it('is refused if a line is unknown or an end has no start', () => {
    expect(parseJournal('start a b 1 2\n').syncs).toMatchObject([
      { service: 'a', commit: 'b', pid: 1, endedNs: null },
    ]);
    expect(parseJournal('start a b 1 2 c\nfailed a b 1 3 c\n').syncs).toMatchObject([
      { runId: 'c', endedNs: 3n, failed: true },
    ]);
    expect(() => parseJournal('end a b 1 2\n')).toThrow('without a start');
    expect(() => parseJournal('sta\n')).toThrow('unknown line');
  });
});

describe('invoke iac-runner.setup', () => {
  const secretOf = (text: string): string | undefined => /^WEBHOOK_SECRET=(.*)$/m.exec(text)?.[1];

  it('writes a private .env once, prints the webhook settings, and keeps the secret', async () => {
    const file = join(repository.clone, 'bootstrap/05.iac-runner/.env');
    await repository.git('remote', 'set-url', 'origin', 'https://me:hunter2@github.com/acme/platform.git');
    const first = await invoke(['iac-runner.setup', '--domain', 'example.com']);
    const text = await readFile(file, 'utf8');
    const secret = secretOf(text);

    expect(first.exitCode).toBe(0);
    expect(secret).toMatch(/^[0-9a-f]{64}$/);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(text).toContain('GIT_REPO_URL=https://github.com/acme/platform.git');
    expect(first.stdout).toContain('https://iac.example.com/webhook');
    expect(first.stdout).toContain('application/json');
    expect(first.stdout).toContain('Just the push event');
    expect(first.stdout).toContain(secret);
    expect(await repository.git('status', '--porcelain')).toBe('');

    const second = await invoke(['iac-runner.setup']);
    expect(second.exitCode).toBe(0);
    expect(await readFile(file, 'utf8')).toBe(text);
    expect(second.stdout).not.toContain(secret);
  });

  it('rotates the secret: the old secret stays valid as the previous one, and other lines stay unchanged', async () => {
    const file = 'bootstrap/05.iac-runner/.env';
    await repository.write(
      file,
      '# mine\nWEBHOOK_SECRET=old-secret\nGIT_REPO_URL=file:///srv/x\nTASK_ENV=ENV,MORE\n',
    );
    const { exitCode } = await invoke(['iac-runner.setup', '--rotate']);
    const text = await readFile(join(repository.clone, file), 'utf8');
    expect(exitCode).toBe(0);
    expect(secretOf(text)).not.toBe('old-secret');
    expect(text).toContain('WEBHOOK_SECRET_PREVIOUS=old-secret\n');
    expect(text).toContain('# mine\n');
    expect(text).toContain('GIT_REPO_URL=file:///srv/x\nTASK_ENV=ENV,MORE\n');
  });

  it('asks for missing values, and writes nothing then', async () => {
    const refused = await invoke(['iac-runner.setup'], { INTERNAL_DOMAIN: '' });
    expect(refused.exitCode).toBe(2);
    expect(refused.stderr).toContain('--domain');
    await expect(stat(join(repository.clone, 'bootstrap/05.iac-runner/.env'))).rejects.toThrow();
  });
});
