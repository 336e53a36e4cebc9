/** The server says that it is alive and whether it can work, and has nothing at other paths. */

import { symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { commitChange } from './support/platform-services.ts';
import { acceptedRun } from './support/run-actions.ts';
import type { Runner } from './support/runner.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import { shareStage } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

const OK = { status: 'ok' };
const ALL_OK = { store: OK, workspace: OK, git: OK, remote: OK, branch: OK, rules: OK, task_runner: OK };

describe('A server', () => {
  const shared = shareStage('health');

  it('that is healthy says so to everybody, by GET and by HEAD', async () => {
    const { runner } = shared();
    const health = await runner.getJson('/health', null);
    expect(health).toMatchObject({ status: 200, body: { status: 'healthy' } });
    expect(Object.keys(Object(health.body))).toEqual(['status']);
    expect(await runner.getJson('/ready', null)).toMatchObject({
      status: 200,
      body: { status: 'ready', checks: ALL_OK },
    });
    for (const path of ['/health', '/ready']) {
      const head = await fetch(runner.url + path, { method: 'HEAD' });
      expect({ path, status: head.status, body: await head.text() }).toEqual({ path, status: 200, body: '' });
    }
  });

  it('has nothing at an unknown path, and says so in JSON without repeating the request', async () => {
    const { runner } = shared();
    const paths = [
      '/nope',
      '/webhook/',
      '/webhook/x',
      '/Webhook',
      '/sync/all',
      '/health/x',
      '/.env',
      '/.git/config',
    ];
    for (const path of [
      ...paths,
      '/assets/../../package.json',
      '/%2e%2e/package.json',
      '/x%00y',
      '/%',
      `/${'x'.repeat(4_000)}`,
    ]) {
      for (const method of ['GET', 'POST']) {
        const response = await fetch(runner.url + path, { method, redirect: 'manual' });
        const text = await response.text();
        expect({ path, method, status: response.status }).toEqual({ path, method, status: 404 });
        expect(response.headers.get('content-type')).toContain('application/json');
        expect(JSON.parse(text)).toMatchObject({ error: expect.any(String) });
        expect(text.length).toBeLessThan(500);
      }
    }
  });

  it('refuses its internal pages to people who are not signed in', async () => {
    const { runner } = shared();
    for (const path of ['/runs', '/runs/x', '/runs/x/log', '/runs/x/events']) {
      for (const token of [null, 'nobody', '', `${API_TOKENS.viewer} `.repeat(2)]) {
        const answer = await runner.getJson(path, token);
        expect({ path, token, status: answer.status }).toEqual({ path, token, status: 401 });
        expect(answer.body).toMatchObject({ error: expect.any(String), code: 'unauthorized' });
      }
    }
  });
});

/** Returns the answer of /ready when it contains a fresh check. */
async function problems(runner: Runner, status: 200 | 503): Promise<Record<string, unknown>> {
  const answer = await until(`/ready to answer ${status}`, async () => {
    const now = await runner.getJson('/ready', null);
    return now.status === status ? now : null;
  });
  expect(answer.body).toMatchObject({ status: status === 200 ? 'ready' : 'not_ready' });
  const { checks } = Object(answer.body);
  return Object.fromEntries(Object.entries(checks).filter(([, check]) => Object(check).status !== 'ok'));
}

function failure(pattern: RegExp): object {
  return { status: 'failed', problem: expect.stringMatching(pattern) };
}

describe('A server that cannot work', () => {
  it('because invoke is missing says so when asked and in its log, stays healthy, and ends runs with the reason', async () => {
    const stage = await setTestStage('no-invoke');
    const runner = await stage.start({ environment: { INVOKE_COMMAND: '/nonexistent/invoke --quiet' } });
    expect(await problems(runner, 503)).toEqual({
      task_runner: failure(/\/nonexistent\/invoke.*INVOKE_COMMAND/s),
    });
    expect((await runner.getJson('/health', null)).status).toBe(200);
    const line = await until('the line in the log', () =>
      runner.logs().find(({ part, msg }) => part === 'task_runner' && msg === 'not ready'),
    );
    expect(line.problem).toContain('/nonexistent/invoke');
    const head = await commitChange(stage.repository, ['platform/redis'], 'Cannot run');
    const run = await runner.waitForRun(acceptedRun(await stage.push(runner)), 'errored');
    expect(run).toMatchObject({
      reason: 'task_runner_missing',
      next_action: expect.stringContaining('INVOKE_COMMAND'),
    });
    await stage.github.statuses.waitFor({ sha: head, state: 'error' });
  });

  it('because git is missing names git', async () => {
    const stage = await setTestStage('no-git');
    const bin = join(stage.folder, 'bin');
    const { stdout: invoke } = await execa('sh', ['-c', `command -v ${stage.runnerOptions.invoke[0]}`]);
    await stage.repository.write('../bin/README', 'Everything but git.\n');
    for (const [name, target] of Object.entries({
      invoke,
      python3: '/usr/bin/python3',
      env: '/usr/bin/env',
      sh: '/bin/sh',
    })) {
      await symlink(target, join(bin, name));
    }
    const runner = await stage.start({ environment: { PATH: bin } });
    expect(await problems(runner, 503)).toMatchObject({ git: failure(/git.*Install git/s) });
    expect((await runner.getJson('/health', null)).status).toBe(200);
  });

  it('because its workspace is a file names the folder', async () => {
    const stage = await setTestStage('no-workspace');
    const file = join(stage.folder, 'not-a-folder');
    await writeFile(file, '');
    const runner = await stage.start({ environment: { WORKSPACE_DIR: join(file, 'workspace') } });
    const found = await problems(runner, 503);
    expect(found).toMatchObject({ workspace: failure(new RegExp(file)) });
    // The free space of the folder cannot be determined either.
    for (const part of ['store', 'git', 'task_runner']) expect(found).not.toHaveProperty(part);
  });

  it('because its store accepts no writes refuses pushes with 503 and Retry-After, and recovers by itself', async () => {
    const stage = await setTestStage('no-store');
    const runner = await stage.start();
    await commitChange(stage.repository, ['platform/redis'], 'Cannot be stored');
    // Somebody inspects the store with a tool that locks it.
    const database = new DatabaseSync(join(stage.folder, 'data', 'iac-runner.db'));
    database.exec('BEGIN IMMEDIATE');
    const refused = await stage.push(runner);
    // The answer must arrive in time: GitHub, and the sender of these tests, give up after ten seconds.
    expect(refused).toMatchObject({ status: 503, body: { error: expect.any(String) } });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await problems(runner, 503)).toMatchObject({ store: failure(/store/i) });
    database.exec('ROLLBACK');
    database.close();
    expect(await problems(runner, 200)).toEqual({});
    const again = await stage.github.redeliver(refused.deliveryId);
    await runner.waitForRun(acceptedRun(again), 'final');
  });
});
