/** The answers of /sync, row by row, and the runs that follow. */

import { rename, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { signedLink, sync, waitUntilIdle } from './support/deliveries.ts';
import { ALL_IDS, commitChange, syncedAt } from './support/platform-services.ts';
import { acceptedRun } from './support/run-actions.ts';
import { shareStage } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

describe('A request for services', () => {
  const shared = shareStage('sync');

  it('is answered with the services, sorted and once each, and runs exactly them at the branch head', async () => {
    const { stage, runner } = shared();
    const head = await commitChange(
      stage.repository,
      ['platform/redis', 'platform/minio', 'platform/vault'],
      'Three',
    );
    await stage.repository.push();
    const answer = await sync(runner, { services: ['platform/vault', 'platform/redis', 'platform/vault'] });
    expect(answer).toMatchObject({ status: 200 });
    expect(answer.body).toEqual({
      status: 'accepted',
      services: ['platform/redis', 'platform/vault'],
      run_id: expect.stringMatching(UUID),
      url: expect.stringContaining('http://localhost/runs/'),
    });
    const run = await runner.waitForRun(acceptedRun(answer), 'succeeded');
    expect(run).toMatchObject({ revision: head, message: '2 service(s) synced successfully' });
    expect(await syncedAt(stage.journal, head)).toEqual(['platform/redis', 'platform/vault']);
    expect((await runner.getJson(signedLink(answer), null)).status).toBe(200);
  });

  it('skips unchanged services, and runs them with force', async () => {
    const { stage, runner } = shared();
    const head = await commitChange(stage.repository, ['platform/dashy'], 'Dash');
    await stage.repository.push();
    const asked = { services: ['platform/dashy'] };
    const first = await runner.waitForRun(acceptedRun(await sync(runner, asked)), 'succeeded');
    const second = await runner.waitForRun(acceptedRun(await sync(runner, asked)), 'succeeded');
    expect(second.message).toBe('No services required sync');
    expect(second.steps).toMatchObject([{ id: 'platform/dashy', state: 'skipped' }]);
    expect(second.steps[0]?.message).toMatch(/unchanged since run/i);
    expect(second.steps[0]?.message).toContain(first.run_id.slice(0, 8));
    expect(await syncedAt(stage.journal, head)).toEqual(['platform/dashy']);
    const forced = await sync(runner, { ...asked, force: true });
    expect((await runner.waitForRun(acceptedRun(forced), 'succeeded')).message).toBe(
      '1 service(s) synced successfully',
    );
    expect(await syncedAt(stage.journal, head)).toEqual(['platform/dashy', 'platform/dashy']);
  });

  it('knows a service that was pushed a second ago and never fetched', async () => {
    const { stage, runner } = shared();
    const { repository } = stage;
    await sync(runner, { services: ['platform/redis'] });
    await repository.write(
      'platform/08.brand-new/deploy.py',
      'from invoke import task\n\n@task\ndef sync(_c):\n    pass\n',
    );
    await repository.write('platform/08.brand-new/compose.yaml', 'services: {}\n');
    const head = await repository.commit('Add a service');
    await repository.push();
    const answer = await sync(runner, { services: ['platform/brand-new'] });
    expect(answer).toMatchObject({ status: 200, body: { services: ['platform/brand-new'] } });
    const run = await runner.waitForRun(acceptedRun(answer), 'succeeded');
    expect(run).toMatchObject({ revision: head, steps: [{ id: 'platform/brand-new', state: 'succeeded' }] });
    // After its removal, the service is unknown just as quickly.
    await repository.remove('platform/08.brand-new');
    await repository.commit('Remove it again');
    await repository.push();
    const afterRemoval = await sync(runner, { services: ['platform/brand-new'] });
    if (afterRemoval.status === 200) {
      const after = await runner.waitForRun(acceptedRun(afterRemoval), 'failed');
      expect(after.steps[0]?.message).toContain('There is no service platform/brand-new at');
      expect(after.reason).toBe('service_missing');
    } else expect(afterRemoval.status).toBe(400);
  });

  it('with "all" requests every service', async () => {
    const { stage, runner } = shared();
    const answer = await sync(runner, { all: true, force: true });
    expect(answer.body).toMatchObject({ status: 'accepted', services: ALL_IDS });
    const run = await runner.waitForRun(acceptedRun(answer), 'succeeded');
    expect(run.message).toBe('12 service(s) synced successfully');
    const succeeded = run.steps.filter(({ state }) => state === 'succeeded');
    expect(succeeded.map(({ id }) => id).toSorted()).toEqual(ALL_IDS);
    expect((await stage.journal.read()).overlaps).toEqual([]);
  });

  it('as a dry run starts nothing, reports nothing to GitHub, and its page says what would be done', async () => {
    const { stage, runner } = shared();
    const head = await commitChange(stage.repository, ['platform/signoz'], 'Would be synced');
    await stage.repository.push();
    await waitUntilIdle(runner);
    const { syncs } = await stage.journal.read();
    const answer = await sync(runner, { services: ['platform/signoz', 'platform/redis'], dry_run: true });
    expect(answer.body).toMatchObject({
      status: 'accepted',
      services: ['platform/redis', 'platform/signoz'],
    });
    const run = await runner.waitForRun(acceptedRun(answer), 'succeeded');
    expect(run).toMatchObject({ dry_run: true, message: 'Dry run: 1 service(s) would be synced' });
    const page = await fetch(runner.url + signedLink(answer), { headers: { accept: 'text/html' } });
    expect(await page.text()).toContain('Would be synced');
    expect((await stage.journal.read()).syncs).toEqual(syncs);
    // The next status is sent after a status of the dry run would have been.
    const really = await sync(runner, { services: ['platform/signoz'] });
    await runner.waitForRun(acceptedRun(really), 'succeeded');
    await stage.github.statuses.waitFor({ sha: head, state: 'success' });
    const targetUrls = stage.github.statuses.history(head).map(({ targetUrl }) => targetUrl);
    expect(targetUrls.filter((url) => url?.includes(run.run_id))).toEqual([]);
    expect(await syncedAt(stage.journal, head)).toEqual(['platform/signoz']);
  });

  it('at a commit deploys exactly that commit, also an older one, and says so', async () => {
    const { stage, runner } = shared();
    const { repository, journal, github } = stage;
    const older = await commitChange(repository, ['platform/vault'], 'Older');
    const newer = await commitChange(repository, ['platform/vault'], 'Newer');
    await repository.push();
    await runner.waitForRun(acceptedRun(await sync(runner, { services: ['platform/vault'] })), 'succeeded');
    expect(await syncedAt(journal, newer)).toEqual(['platform/vault']);
    const answer = await sync(runner, { services: ['platform/vault'], revision: older });
    const run = await runner.waitForRun(acceptedRun(answer), 'succeeded');
    expect(run).toMatchObject({ revision: older, requested_revision: older });
    expect(await syncedAt(journal, older)).toEqual(['platform/vault']);
    expect(await github.statuses.waitFor({ sha: older, state: 'success' })).toMatchObject({
      description: '1 service(s) synced successfully',
    });
  });
});

describe('The status of a sync', () => {
  const shared = shareStage('sync-status', () => ({ IAC_EXAMPLE_SLEEP_MS: '2500' }));
  const targetUrls = (sha: string): string[] =>
    shared()
      .stage.github.statuses.history(sha)
      .map(({ state, description, context }) => `${context}: ${state} ${description}`);

  it('is reported in the texts that people know, from waiting to its end', async () => {
    const { stage, runner } = shared();
    const { repository, github } = stage;
    const first = await commitChange(repository, ['platform/redis'], 'First');
    await repository.push();
    await runner.waitForRun(acceptedRun(await sync(runner, { services: ['platform/redis'] })), 'running');
    await stage.journal.waitForStart('platform/redis');
    const second = await commitChange(repository, ['platform/redis', 'platform/minio'], 'Second');
    const behind = acceptedRun(await stage.push(runner));
    await github.statuses.waitFor({ sha: first, state: 'success' });
    await runner.waitForRun(behind, 'succeeded');
    await github.statuses.waitFor({ sha: second, state: 'success' });
    const context = 'IaC Runner / Sync';
    expect(targetUrls(first).slice(-2)).toEqual([
      `${context}: pending Syncing 1 service(s)...`,
      `${context}: success 1 service(s) synced successfully`,
    ]);
    expect(targetUrls(second)).toEqual([
      `${context}: pending Waiting for previous sync to complete`,
      `${context}: pending Syncing 2 service(s)...`,
      `${context}: success 2 service(s) synced successfully`,
    ]);
  });

  it('says that nothing was to do, and how many services failed', async () => {
    const { stage, runner } = shared();
    const { repository, github } = stage;
    const same = await repository.commit('Change nothing');
    await repository.push();
    await waitUntilIdle(runner);
    const nothing = await sync(runner, { services: ['platform/redis'], revision: same });
    expect((await runner.waitForRun(acceptedRun(nothing), 'succeeded')).message).toBe(
      'No services required sync',
    );
    await github.statuses.waitFor({ sha: same, state: 'success' });
    expect(targetUrls(same).at(-1)).toBe('IaC Runner / Sync: success No services required sync');
    await repository.write('platform/01.postgres/compose.yaml', 'services: {}\n');
    const broken = await commitChange(repository, ['platform/vault'], 'Break postgres');
    await repository.push();
    const failing = await sync(runner, { services: ['platform/postgres', 'platform/vault'] });
    await runner.waitForRun(acceptedRun(failing), 'failed');
    await github.statuses.waitFor({ sha: broken, state: 'failure' });
    expect(targetUrls(broken).at(-1)).toBe('IaC Runner / Sync: failure 1/2 service(s) failed to sync');
  });
});

describe('A repository that cannot be reached', () => {
  it('makes requests that need it get a 503 with Retry-After, ends runs as errors, and leaves nothing broken', async () => {
    const stage = await setTestStage('unreachable');
    const { repository, github } = stage;
    const link = join(stage.folder, 'link.git');
    const away = join(stage.folder, 'away.git');
    await symlink(repository.path, away);
    const head = await repository.head();
    const runner = await stage.start({ environment: { GIT_REPO_URL: link } });
    const nothing = { status: 503, body: { error: expect.stringContaining('repository') } };
    for (const body of [{ all: true }, { services: ['platform/redis'] }, { services: ['platform/nope'] }]) {
      const answer = await sync(runner, body);
      expect(answer).toMatchObject(nothing);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(Object.keys(answer.body as object)).toEqual(['error']);
    }
    expect(await runner.runs()).toEqual([]);

    await rename(away, link);
    await runner.waitForRun(acceptedRun(await sync(runner, { all: true })), 'final');
    await rename(link, away);
    const known = await sync(runner, { services: ['platform/redis'], revision: head, force: true });
    const run = await runner.waitForRun(acceptedRun(known), 'errored');
    expect(run).toMatchObject({ reason: 'git_unavailable', message: 'Failed to update git repository' });
    expect(await github.statuses.waitFor({ sha: head, state: 'error' })).toMatchObject({
      description: 'Failed to update git repository',
    });
    expect(await sync(runner, { services: ['platform/nope'] })).toMatchObject(nothing);

    await rename(away, link);
    const again = await sync(runner, { services: ['platform/redis'], revision: head, force: true });
    await runner.waitForRun(acceptedRun(again), 'succeeded');
    await github.statuses.waitFor({ sha: head, state: 'success' });
  });
});
