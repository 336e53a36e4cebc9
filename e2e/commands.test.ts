/** The other subcommands, as people type them. */

import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it, onTestFinished, type TestContext } from 'vitest';
import { runBounded } from './support/bounded-command.ts';
import { startBreakingProxy } from './support/breaking-proxy.ts';
import { expectNothingStored, waitUntilIdle } from './support/deliveries.ts';
import { ALL_IDS, commitChange, syncedAt } from './support/platform-services.ts';
import { PROJECT_ROOT } from './support/project-root.ts';
import { runProgram } from './support/runner.ts';
import { WEBHOOK_SECRET } from './support/runner-environment.ts';
import { shareStage } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { PATIENCE_MS } from './support/until.ts';

const USAGE = 2;
const CONFIGURATION = 3;
const REFUSED = 4;

describe('The command line', () => {
  const NOTHING_SET = { WEBHOOK_SECRET: undefined, GIT_REPO_URL: undefined, WORKSPACE_DIR: undefined };

  it('explains itself and each of its subcommands without any configuration', async () => {
    const stage = await setTestStage('help');
    const options = { ...stage.runnerOptions, environment: NOTHING_SET };
    const overview = await runProgram(['--help'], options);
    expect(overview).toMatchObject({ exitCode: 0, stderr: '' });
    const names = [...overview.stdout.matchAll(/^ {2}([a-z-]+) {2,}\S/gm)].map(([, name]) => name ?? '');
    expect(names).toEqual(expect.arrayContaining(['serve', 'sync', 'services', 'sign']));
    for (const name of names) {
      for (const args of [
        [name, '--help'],
        [name, '--no-such-option', '-h'],
      ]) {
        const { exitCode, stdout, stderr } = await runProgram(args, options);
        expect({ args, exitCode, stderr }).toEqual({ args, exitCode: 0, stderr: '' });
        expect(stdout).toContain(`Usage: iac-runner ${name}`);
        expect(stdout).toMatch(new RegExp(`^Example:\\n  (?:source <\\()?iac-runner ${name}\\b`, 'm'));
      }
    }
    expect(await runProgram(['--version'], options)).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+/),
    });
  });

  it('exits with 2 for an unknown subcommand, for no subcommand and for wrong options, and lists what exists', async () => {
    const stage = await setTestStage('usage');
    const wrong = [
      [],
      ['nope'],
      ['constructor'],
      ['__proto__'],
      ['serve', '--port', '80'],
      ['serve', 'x'],
      ['sync'],
      ['sync', '--all', 'platform/redis'],
      ['sync', '--revision'],
      ['sync', '--nope', 'platform/redis'],
      ['sign', '{}', '{}'],
      ['sign', '--file', 'x', '{}'],
      ['sign', ''],
      ['sign', '--curl', ' '],
      ['services', '/nonexistent/folder'],
      ['services', '.', '.'],
    ];
    for (const args of wrong) {
      const { exitCode, stdout, stderr } = await runProgram(args, stage.runnerOptions);
      expect({ args, exitCode }).toEqual({ args, exitCode: USAGE });
      expect(`${stdout}${stderr}`).toMatch(/--help|Usage/);
      expect(stderr).not.toMatch(/^\s+at /m);
    }
  });

  it('exits with 3 when the secret is missing', async () => {
    const stage = await setTestStage('no-secret');
    const options = { ...stage.runnerOptions, environment: NOTHING_SET };
    for (const args of [['serve'], ['sign', '{}'], ['sync', '--all']]) {
      const { exitCode, stdout, stderr } = await runProgram(args, options);
      expect({ args, exitCode, stdout }).toEqual({ args, exitCode: CONFIGURATION, stdout: '' });
      expect(stderr).toContain('WEBHOOK_SECRET');
    }
  });
});

describe('iac-runner services', () => {
  it('lists the services of the example in the order of a sync, and the folders that never run', async () => {
    const stage = await setTestStage('services');
    const folder = join(PROJECT_ROOT, 'examples/platform');
    const { exitCode, stdout, stderr } = await runProgram(['services', folder], stage.runnerOptions);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    const rows = stdout
      .trim()
      .split('\n')
      .map((line) => line.split(/\s{2,}|(?<=\S) (?=\S+$)/));
    expect(rows.map(([wave]) => wave)).toEqual(rows.map(([wave]) => wave).toSorted());
    expect(
      rows
        .filter(([, id]) => id !== 'bootstrap/iac-runner')
        .map(([, id]) => id)
        .toSorted(),
    ).toEqual(ALL_IDS);
    expect(stdout).toMatch(/^01 {2}platform\/postgres +postgres\.sync$/m);
    expect(stdout).toMatch(/^10 {2}finance_report\/app +fr-app\.sync$/m);
    expect(stdout).toMatch(/^05 {2}bootstrap\/iac-runner +\(never run\)$/m);
  });

  it('exits with 1 when two folders claim the same id, and names both', async () => {
    const stage = await setTestStage('duplicates');
    await stage.repository.write('platform/09.redis/deploy.py', '');
    const { exitCode, stderr } = await runProgram(['services', stage.repository.clone], stage.runnerOptions);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/platform\/redis.*platform\/01\.redis.*platform\/09\.redis/);
  });
});

describe('iac-runner sign', () => {
  const shared = shareStage('sign');

  async function curlOrSkip(context: TestContext): Promise<void> {
    if (!(await runBounded(['curl', '--version'], 10_000)).ok) context.skip('curl is not installed');
  }

  function headersOf(stdout: string): Record<string, string> {
    return Object.fromEntries(
      stdout
        .trim()
        .split('\n')
        .map((line) => line.split(': ')),
    );
  }

  async function send(headers: Record<string, string>, body: string): Promise<number> {
    return (await fetch(`${shared().runner.url}/sync`, { method: 'POST', headers, body })).status;
  }

  it('prints headers that the server accepts, however the body is given, and never prints the secret', async () => {
    const { stage, runner } = shared();
    const { runnerOptions: options } = stage;
    const body = '{ "services": ["platform/redis"], "dry_run":true }\n';
    await stage.repository.write('../body.json', body);
    const ways: [string[], string | undefined][] = [
      [['sign', body], undefined],
      [['sign', '--file', join(stage.folder, 'body.json')], undefined],
      [['sign', '-'], body],
      [['sign'], body],
      [['sign', '--timestamp', body], undefined],
    ];
    for (const [args, input] of ways) {
      const { exitCode, stdout, stderr } = await runProgram(args, options, input);
      expect({ args, exitCode, stderr }).toEqual({ args, exitCode: 0, stderr: '' });
      expect(stdout).not.toContain(WEBHOOK_SECRET);
      expect({ args, status: await send(headersOf(stdout), body) }).toEqual({ args, status: 200 });
      expect(await send(headersOf(stdout), body.trim())).toBe(401);
    }
    const { stdout } = await runProgram(['sign', '--timestamp', body], options);
    expect(await send(headersOf(stdout), body)).toBe(200);
    expect(await send(headersOf(stdout), body)).toBe(401);
    await waitUntilIdle(runner);
  });

  it('prints a curl command that a shell sends unchanged, whatever the body contains', async (context) => {
    await curlOrSkip(context);
    const { stage, runner } = shared();
    const bodies: [string, string[], RegExp][] = [
      ['{"services":["platform/redis"],"dry_run":true}', [], /"status":"accepted"/],
      ['{"services":["platform/redis"],"dry_run":true}', ['--timestamp'], /"status":"accepted"/],
      ['\n{ "services":\r\n["platform/redis"],"dry_run":true }\n\n', [], /"status":"accepted"/],
      // The server refuses the content of the body, so the signature was good and no byte was lost or changed.
      [JSON.stringify({ services: ['it\'s $HOME `id` \\ "x" $(id) !! ;\n\t%s é😀'] }), [], /Unknown service/],
      ['@/etc/passwd', [], /not valid JSON/],
    ];
    for (const [body, more, answer] of bodies) {
      const args = ['sign', '--curl', '--url', runner.url, ...more, body];
      const { exitCode, stdout: command } = await runProgram(args, stage.runnerOptions);
      expect(exitCode).toBe(0);
      expect(command).not.toContain(WEBHOOK_SECRET);
      const sent = await execa('sh', { input: command, reject: false, timeout: PATIENCE_MS });
      expect({ body, stdout: sent.stdout }).toEqual({ body, stdout: expect.stringMatching(answer) });
      if (!more.includes('--timestamp')) continue;
      const again = await execa('sh', { input: command, reject: false, timeout: PATIENCE_MS });
      expect(again.exitCode).not.toBe(0);
      expect(again.stdout).toContain('nonce');
    }
    await waitUntilIdle(runner);
  });

  it('uses the address at which people reach the server', async () => {
    const { stage } = shared();
    for (const [environment, url] of [
      [{}, 'http://localhost/sync'],
      [{ PUBLIC_URL: undefined }, 'https://iac.example.com/sync'],
      [
        { PUBLIC_URL: undefined, INTERNAL_DOMAIN: undefined, WEBHOOK_PORT: '8123' },
        'http://localhost:8123/sync',
      ],
    ] as const) {
      const { stdout } = await runProgram(['sign', '--curl', '{}'], { ...stage.runnerOptions, environment });
      expect(stdout).toContain(`'${url}'`);
    }
  });
});

describe('iac-runner sync', () => {
  const shared = shareStage('sync-command');

  function syncCommand(args: string[], environment: Record<string, string | undefined> = {}) {
    const { stage, runner } = shared();
    return runProgram(['sync', '--url', runner.url, ...args], { ...stage.runnerOptions, environment });
  }

  it('--follow shows the run while it runs and exits with 0 when it succeeded', async () => {
    const { stage } = shared();
    const head = await commitChange(stage.repository, ['platform/redis'], 'Follow me');
    await stage.repository.push();
    const { exitCode, stdout, stderr } = await syncCommand(['--follow', 'platform/redis']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout).toMatch(/Run [0-9a-f-]{36}: platform\/redis/);
    expect(stdout).toContain('platform/redis | ✓ platform/redis: created, config hash');
    expect(stdout).toContain('platform/redis: succeeded');
    expect(stdout.trim().split('\n').at(-1)).toContain('1 service(s) synced successfully');
    expect(stdout).not.toContain(WEBHOOK_SECRET);
    expect(await syncedAt(stage.journal, head)).toEqual(['platform/redis']);
  });

  it('--follow continues after an interruption, whatever a proxy answers while the server is away', async () => {
    const { stage, runner } = shared();
    await commitChange(stage.repository, ['platform/redis'], 'Follow me through a break');
    await stage.repository.push();
    const proxy = await startBreakingProxy(runner.url, [502, 503, 504, 429]);
    onTestFinished(proxy.close);
    const { exitCode, stdout, stderr } = await syncCommand([
      '--url',
      proxy.url,
      '--follow',
      'platform/redis',
    ]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(proxy.answers()).toEqual(['broken', 502, 503, 504, 429, 'whole']);
    expect(stdout.split('platform/redis | ✓ platform/redis: ')).toHaveLength(2);
    expect(stdout.trim().split('\n').at(-1)).toContain('1 service(s) synced successfully');
  });

  it('--follow exits at once when the server refuses to show the run', async () => {
    const { stage, runner } = shared();
    await commitChange(stage.repository, ['platform/redis'], 'Follow me nowhere');
    await stage.repository.push();
    const proxy = await startBreakingProxy(runner.url, [404, 404]);
    onTestFinished(proxy.close);
    const { exitCode, stderr } = await syncCommand(['--url', proxy.url, '--follow', 'platform/redis']);
    expect({ exitCode, stderr }).toEqual({ exitCode: REFUSED, stderr: expect.stringContaining('404') });
    expect(proxy.answers()).toEqual(['broken', 404]);
    await waitUntilIdle(runner);
  });

  it('--follow exits with 1 when the run failed, and shows why', async () => {
    const { stage } = shared();
    await stage.repository.write('platform/01.postgres/compose.yaml', 'services: {}\n');
    await stage.repository.commit('Break postgres');
    await stage.repository.push();
    const { exitCode, stdout } = await syncCommand(['--follow', 'platform/postgres', 'platform/redis']);
    expect(exitCode).toBe(1);
    expect(stdout).toContain('compose.yaml names no image');
    expect(stdout).toContain('1/1 service(s) failed to sync');
  });

  it("exits with 4 and the server's message when the server refuses the request or cannot be reached", async () => {
    const { runner } = shared();
    await expectNothingStored(runner, async () => {
      const unknown = await syncCommand(['--follow', 'platform/nope']);
      expect(unknown).toMatchObject({ exitCode: REFUSED, stdout: '' });
      expect(unknown.stderr).toContain('Unknown service "platform/nope"');
      const unsigned = await syncCommand(['--all'], { WEBHOOK_SECRET: 'another-secret-01' });
      expect(unsigned).toMatchObject({
        exitCode: REFUSED,
        stderr: expect.stringContaining('Invalid signature'),
      });
      const revision = await syncCommand(['--all', '--revision', 'f'.repeat(40)]);
      expect(revision).toMatchObject({ exitCode: REFUSED, stderr: expect.stringContaining('f'.repeat(40)) });
      const nobody = await syncCommand(['--all', '--url', 'http://127.0.0.1:1']);
      expect(nobody).toMatchObject({
        exitCode: REFUSED,
        stderr: expect.stringContaining('http://127.0.0.1:1'),
      });
      for (const { stderr } of [unknown, unsigned, revision, nobody]) {
        expect(stderr.trim().split('\n')).toHaveLength(1);
      }
    });
  });

  it('--dry-run says what a sync would do and does nothing', async () => {
    const { stage } = shared();
    await commitChange(stage.repository, ['platform/vault'], 'Would be done');
    await stage.repository.push();
    const { syncs } = await stage.journal.read();
    const { exitCode, stdout } = await syncCommand(['--dry-run', '--follow', 'platform/vault']);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/platform\/vault: skipped \(Would be synced\./);
    expect(stdout).toContain('Dry run: 1 service(s) would be synced');
    expect((await stage.journal.read()).syncs).toEqual(syncs);
  });

  it('prints the address of the run and exits when --follow is not given', async () => {
    const { stage, runner } = shared();
    const head = await commitChange(stage.repository, ['platform/minio'], 'Goes on');
    await stage.repository.push();
    const { exitCode, stdout } = await syncCommand(['--force', '--revision', head, 'platform/minio']);
    expect(exitCode).toBe(0);
    const [, runId = ''] =
      /^Run ([0-9a-f-]{36}): platform\/minio\nhttp:\/\/localhost\/runs\/\1\?key=\S+$/m.exec(stdout) ?? [];
    const run = await runner.waitForRun(runId, 'succeeded');
    expect(run).toMatchObject({ revision: head, force: true });
  });
});
