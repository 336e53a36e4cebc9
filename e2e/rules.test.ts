/** `.iac-runner.yaml`: the platform repository's own rules apply, and broken rules never stop what worked before. */

import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { commitChange, syncedAt } from './support/platform-services.ts';
import { pushRun, readPage } from './support/pushed-run.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

const FILE = '.iac-runner.yaml';

describe('A repository with rules of its own', () => {
  it('has its services found, excluded and ordered by its rules', async () => {
    const stage = await setTestStage('rules');
    const runner = await stage.start();
    await stage.repository.write(
      FILE,
      `exclude: [platform/vault]
needs:
  platform/redis: [platform/minio]
  platform/dashy: [platform/redis]
`,
    );
    const commit = await commitChange(
      stage.repository,
      ['platform/vault', 'platform/redis', 'platform/minio', 'platform/postgres', 'platform/dashy'],
      'all',
    );
    await stage.push(runner);
    await runner.waitForRun((run) => run.revision === commit, 'succeeded');
    const { syncs } = await stage.journal.read();
    const order = syncs.map(({ service }) => service);
    expect(order.toSorted()).toEqual([
      'platform/dashy',
      'platform/minio',
      'platform/postgres',
      'platform/redis',
    ]);
    expect(order.indexOf('platform/minio')).toBeLessThan(order.indexOf('platform/redis'));
    const refused = await runner.signedPost('/sync', { services: ['platform/vault'] });
    expect(refused).toMatchObject({ status: 400, body: { error: 'Excluded service "platform/vault"' } });
  });

  it('blocks the services that need a failed service, and no others', async () => {
    const stage = await setTestStage('blocked');
    const runner = await stage.start();
    await stage.repository.write(FILE, 'needs:\n  platform/dashy: [platform/redis]\n');
    await stage.repository.write('platform/01.redis/compose.yaml', 'imgae: redis\n');
    const commit = await commitChange(stage.repository, ['platform/dashy', 'platform/minio'], 'broken');
    const { body } = await stage.push(runner);
    const run = await runner.waitForRun((body as { run_id: string }).run_id, 'failed');
    const states = Object.fromEntries(run.steps.map(({ id, state }) => [id, state]));
    expect(states).toEqual({
      'platform/redis': 'failed',
      'platform/dashy': 'blocked',
      'platform/minio': 'succeeded',
    });
    expect(run.message).toBe('2/3 service(s) failed to sync');
    expect(await syncedAt(stage.journal, commit)).toEqual(['platform/minio', 'platform/redis']);
  });

  it('runs only the services that need a shared file when the file changes', async () => {
    const stage = await setTestStage('shared');
    const runner = await stage.start();
    await stage.repository.write(
      FILE,
      'shared:\n  - libs\n  - tasks.py\n  - path: libs/databases\n    services: [platform/postgres]\n',
    );
    await stage.repository.write('libs/databases/tuning.conf', 'a\n');
    const first = await stage.repository.commit('Narrow');
    await stage.push(runner);
    await runner.waitForRun((run) => run.revision === first, 'succeeded');
    await stage.repository.write('libs/databases/tuning.conf', 'b\n');
    const second = await stage.repository.commit('Tune');
    await stage.push(runner);
    await runner.waitForRun((run) => run.revision === second, 'succeeded');
    expect(await syncedAt(stage.journal, second)).toEqual(['platform/postgres']);
  });

  it('keeps its last good rules when the file is broken, syncs all the same, and says what is wrong', async () => {
    const stage = await setTestStage('broken');
    const runner = await stage.start();
    await stage.repository.write(FILE, 'exclude: [platform/vault]\n');
    const good = await commitChange(stage.repository, ['platform/redis'], 'good');
    await stage.push(runner);
    await runner.waitForRun((run) => run.revision === good, 'succeeded');
    await stage.repository.write(FILE, 'exclude:\n  - platform/vault\n  - 3\n');
    const bad = await commitChange(stage.repository, ['platform/vault', 'platform/minio'], 'bad');
    const { body } = await stage.push(runner);
    const run = await runner.waitForRun((body as { run_id: string }).run_id, 'failed');
    expect(run).toMatchObject({ reason: 'rules_invalid' });
    expect(run.message).toMatch(/^\.iac-runner\.yaml line 3, exclude\.1: /);
    expect(await syncedAt(stage.journal, bad)).toEqual(['platform/minio']);
    await stage.github.statuses.waitFor({ sha: bad, state: 'failure' });
    expect(stage.github.statuses.latest(bad)?.description).toMatch(/^\.iac-runner\.yaml line 3/);
  });

  it('turns each push into a run by its own layout, and makes no run for a push that concerns no service', async () => {
    const stage = await setTestStage('own-layout');
    await stage.repository.write(
      FILE,
      'services:\n  - { match: "apps/{nn}.{service}/deploy.py", id: "platform/{service}", task: "{service}.sync" }\n',
    );
    await stage.repository.write('apps/01.redis/deploy.py', '');
    await stage.repository.write('apps/01.redis/compose.yaml', 'services: {}\n');
    const runner = await stage.start();
    // Otherwise the first look at the branch could already find the rules that are pushed next.
    await until('the first look at the branch', () =>
      runner.logs().find(({ msg }) => String(msg).startsWith('the branch is seen for the first time')),
    );
    const rules = await stage.repository.commit('Own layout');
    expect((await stage.push(runner)).body).toMatchObject({ status: 'accepted', services: [] });
    await runner.waitForRun((run) => run.revision === rules, 'final');
    await stage.repository.write('apps/01.redis/compose.yaml', 'services: { a: {} }\n');
    const commit = await stage.repository.commit('Change it');
    const { body } = await stage.push(runner);
    expect(body).toMatchObject({ status: 'accepted', services: ['platform/redis'] });
    await runner.waitForRun((run) => run.revision === commit, 'final');
    await stage.repository.write('platform/01.redis/compose.yaml', 'services: { b: {} }\n');
    await stage.repository.commit('Of no service any more');
    expect((await stage.push(runner)).body).toEqual({
      status: 'no_changes',
      message: 'No service files changed',
    });
  });

  it('says so when a push does nothing but break the file', async () => {
    const stage = await setTestStage('only-broken');
    const runner = await stage.start();
    await stage.repository.write(FILE, 'needs:\n  platform/dashy: [plattform/redis]\n');
    const bad = await stage.repository.commit('Break it');
    const { body } = await stage.push(runner);
    expect(body).toMatchObject({ status: 'accepted', services: [] });
    const run = await runner.waitForRun((body as { run_id: string }).run_id, 'failed');
    expect(run).toMatchObject({ reason: 'rules_invalid' });
    await stage.github.statuses.waitFor({ sha: bad, state: 'failure' });
    expect(stage.github.statuses.latest(bad)?.description).toMatch(
      /^\.iac-runner\.yaml line 2, needs\.platform\/dashy\.0: no rule makes a service plattform\/redis/,
    );
  });

  it('waits for its sync window, says so, and does not wait when a sync is forced', async () => {
    const stage = await setTestStage('window');
    const runner = await stage.start();
    const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
    const inThreeDays = days[(new Date().getUTCDay() + 3) % 7];
    await stage.repository.write(
      FILE,
      `windows:\n  - { days: [${inThreeDays}], from: "10:00", to: "11:00" }\n`,
    );
    const commit = await commitChange(stage.repository, ['platform/redis'], 'late');
    const { body } = await stage.push(runner);
    const { run_id: runId } = body as { run_id: string };
    await expect
      .poll(async () => (await runner.getJson(`/runs/${runId}`)).body)
      .toMatchObject({ state: 'queued', message: expect.stringMatching(/^Waiting for the sync window at /) });
    await until('the status to show it', () =>
      stage.github.statuses.latest(commit)?.description?.startsWith('Waiting for the sync window at ')
        ? true
        : null,
    );
    expect(await readPage(runner, `/runs/${runId}`)).toContain('Waiting for the sync window at ');
    expect(await syncedAt(stage.journal, commit)).toEqual([]);
    const forced = await runner.signedPost('/sync', { services: ['platform/redis'], force: true });
    const run = await runner.waitForRun((forced.body as { run_id: string }).run_id, 'succeeded');
    expect(run.revision).toBe(commit);
    expect(await syncedAt(stage.journal, commit)).toEqual(['platform/redis']);
  });

  it('has a time limit per service', async () => {
    const stage = await setTestStage('limit');
    const runner = await stage.start();
    await stage.repository.write(FILE, 'timeouts: { platform/redis: 1 }\n');
    await stage.repository.write(
      'platform/01.redis/deploy.py',
      'import time\nfrom invoke import task\n\n@task\ndef sync(_c):\n    time.sleep(60)\n',
    );
    const { runId } = await pushRun(stage, runner, 'Slow');
    const run = await runner.waitForRun(runId, 'timed_out');
    expect(run.steps).toMatchObject([{ id: 'platform/redis', message: 'Timed out after 1 s' }]);
  });
});

describe('Signed commits', () => {
  it("are required: an unsigned commit or a stranger's signature runs nothing, and a commit with an allowed key runs", async () => {
    const stage = await setTestStage('signed');
    const run = promisify(execFile);
    const keys = { friend: join(stage.folder, 'friend'), stranger: join(stage.folder, 'stranger') };
    for (const key of Object.values(keys)) {
      await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', key]);
    }
    const signers = join(stage.folder, 'signers');
    const { writeFile } = await import('node:fs/promises');
    await writeFile(signers, `ada@example.com ${await readFile(`${keys.friend}.pub`, 'utf8')}`);
    const runner = await stage.start({ environment: { COMMIT_SIGNERS: signers } });
    const sign = async (key: string, id: string) => {
      await commitChange(stage.repository, [id], 'signed');
      await stage.repository.git(
        ...['-c', 'gpg.format=ssh', '-c', `user.signingKey=${key}.pub`],
        ...['commit', '--quiet', '--amend', '--no-edit', '-S'],
      );
      return stage.repository.head();
    };
    await stage.repository.write(FILE, 'signatures: required\n');
    const started = await sign(keys.friend, 'platform/redis');
    await stage.push(runner);
    await runner.waitForRun((found) => found.revision === started, 'succeeded');

    // A commit that removes the rule needs a signature, too.
    await stage.repository.write(FILE, 'signatures: optional\n');
    const unsigned = await commitChange(stage.repository, ['platform/minio'], 'unsigned');
    await stage.push(runner);
    const refused = await runner.waitForRun((found) => found.revision === unsigned, 'errored');
    expect(refused).toMatchObject({
      reason: 'unsigned_commit',
      message: `${unsigned.slice(0, 8)} is not signed by an allowed key`,
    });
    await stage.github.statuses.waitFor({ sha: unsigned, state: 'error' });

    const strange = await sign(keys.stranger, 'platform/vault');
    await stage.push(runner);
    await runner.waitForRun((found) => found.revision === strange, 'errored');
    expect(await syncedAt(stage.journal, strange)).toEqual([]);

    const good = await sign(keys.friend, 'platform/dashy');
    await stage.push(runner);
    await runner.waitForRun((found) => found.revision === good, 'succeeded');
    expect(await syncedAt(stage.journal, good)).toEqual([
      'platform/dashy',
      'platform/minio',
      'platform/vault',
    ]);
  });
});
