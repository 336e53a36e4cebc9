/** The commit that counts as deployed when the server first sees a branch, and its effect on later pushes. */

import { describe, expect, it } from 'vitest';
import { git } from './support/git.ts';
import { ALL_IDS, commitChange, syncedAt, writeGatedService } from './support/platform-services.ts';
import { deliveredRun, notesOf } from './support/push-delivery.ts';
import { NO_COMMIT } from './support/push-payload.ts';
import { acceptedRun } from './support/run-actions.ts';
import { openGate } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

describe('The first look at a branch', () => {
  it('runs what the push changed and leaves the older services alone', async () => {
    const stage = await setTestStage('first');
    const runner = await stage.start();
    const first = await commitChange(stage.repository, ['platform/dashy'], 'First');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    const second = await commitChange(stage.repository, ['platform/redis', 'platform/vault'], 'Second');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    expect(await syncedAt(stage.journal, first)).toEqual(['platform/dashy']);
    expect(await syncedAt(stage.journal, second)).toEqual(['platform/redis', 'platform/vault']);
  });

  it('F39: runs everything when the push created the branch, and later finds the changes of a lost push', async () => {
    const stage = await setTestStage('zeros');
    const { repository, journal } = stage;
    const runner = await stage.start({ environment: { GIT_BRANCH: 'fresh' } });
    // Otherwise the first look at the branch could find the branch just created, and take its head as deployed.
    await until('the first look', () =>
      runner.logs().find(({ msg }) => /^reconcile failed/.test(String(msg))),
    );
    await repository.git('checkout', '--quiet', '-b', 'fresh');
    const created = await repository.push();
    expect(created.before).toBe(NO_COMMIT);
    const run = await runner.waitForRun(await deliveredRun(stage, runner, created), 'succeeded');
    expect(run.message).toBe('12 service(s) synced successfully');
    expect(notesOf(run)).toContain('no earlier commit');
    expect(await syncedAt(journal, created.after)).toEqual(ALL_IDS);
    await writeGatedService(repository, 'platform/06.grafana', 'open');
    await openGate(stage, 'open');
    await repository.commit('Add grafana; its webhook is lost');
    await repository.push();
    const after = await commitChange(repository, ['platform/redis'], 'Change redis');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    expect(await syncedAt(journal, after)).toEqual(['platform/grafana', 'platform/redis']);
  });

  it('F39: runs everything when the commit before the push is not known, and says so', async () => {
    const stage = await setTestStage('unknown-before');
    const runner = await stage.start();
    const { repository, journal } = stage;
    const after = await commitChange(repository, ['platform/redis'], 'Change redis');
    const refUpdate = await repository.push();
    const before = 'feed'.repeat(10);
    const run = await runner.waitForRun(
      await deliveredRun(stage, runner, refUpdate, { before }),
      'succeeded',
    );
    expect(notesOf(run)).toContain('The mirror does not have the earlier commit feedfeed');
    expect(await syncedAt(journal, after)).toEqual(ALL_IDS);
  });

  it('F11: finds the changes of a lost push after the very first run was requested by a person', async () => {
    const stage = await setTestStage('by-hand');
    const runner = await stage.start();
    const { repository, journal } = stage;
    const asked = await runner.signedPost('/sync', { services: ['platform/minio'] });
    await runner.waitForRun(acceptedRun(asked), 'succeeded');
    await commitChange(repository, ['platform/dashy'], 'Change dashy; its webhook is lost');
    await repository.push();
    const after = await commitChange(repository, ['platform/redis'], 'Change redis');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    expect(await syncedAt(journal, after)).toEqual(['platform/dashy', 'platform/redis']);
  });

  it('syncs the changes of the very first push with the second push, when the first could not be fetched', async () => {
    const stage = await setTestStage('unreachable');
    const runner = await stage.start({ environment: { GIT_REPO_URL: `${stage.folder}/away.git` } });
    const { repository, journal, github } = stage;
    const first = await commitChange(repository, ['platform/dashy'], 'Change dashy');
    const run = await runner.waitForRun(acceptedRun(await stage.push(runner)), 'final');
    expect(run).toMatchObject({ state: 'errored', reason: 'git_unavailable' });
    const status = await github.statuses.waitFor({ sha: first, state: 'error' });
    expect(status.description).toBe('Failed to update git repository');
    await git(stage.folder, ['clone', '--quiet', '--mirror', repository.path, 'away.git']);
    const second = await commitChange(repository, ['platform/redis'], 'Change redis');
    const refUpdate = await repository.push();
    await git(`${stage.folder}/away.git`, ['fetch', '--quiet', 'origin', '+refs/*:refs/*']);
    await runner.waitForRun(await deliveredRun(stage, runner, refUpdate), 'succeeded');
    expect(await syncedAt(journal, second)).toEqual(['platform/dashy', 'platform/redis']);
  });
});
