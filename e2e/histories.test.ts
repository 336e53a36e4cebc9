/** Real histories over real git: the right commit is deployed, even if the webhooks are lost, late or wrong. */

import { describe, expect, it } from 'vitest';
import { git } from './support/git.ts';
import type { CommitStatus } from './support/github-statuses.ts';
import { commitChange, FOLDERS, lastSynced, syncedAt } from './support/platform-services.ts';
import { deliveredRun, deliverRefUpdate, notesOf, type RefUpdate } from './support/push-delivery.ts';
import { NO_COMMIT } from './support/push-payload.ts';
import { acceptedRun } from './support/run-actions.ts';
import { shareStage } from './support/shared-stage.ts';
import { expectNoFalseSuccess, waitForFinalStatuses } from './support/truthful-statuses.ts';

describe('Histories of one branch', () => {
  const shared = shareStage('histories');
  /**
   * The state that GitHub must show for each commit at the end. The server sends one status a second, so the tests
   * wait for all of them together at the end.
   */
  const shown = new Map<string, CommitStatus['state'] | 'no success'>();

  it('F11: a push also finds the changes of a lost push before it', async () => {
    const { stage, runner } = shared();
    const { repository, journal } = stage;
    await commitChange(repository, ['platform/dashy'], 'Seen');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    const lost = await commitChange(repository, ['platform/signoz'], 'Lost');
    await repository.push();
    const next = await commitChange(repository, ['platform/redis'], 'Next');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    expect(await syncedAt(journal, lost)).toEqual([]);
    expect(await syncedAt(journal, next)).toEqual(['platform/redis', 'platform/signoz']);
  });

  it('F39: a push that forces the branch back to an older commit moves services back, and the run says so', async () => {
    const { stage, runner } = shared();
    const { repository, journal } = stage;
    const old = await commitChange(repository, ['platform/redis'], 'Good');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    const bad = await commitChange(repository, ['platform/redis', 'platform/vault'], 'Bad');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    await repository.git('reset', '--quiet', '--hard', old);
    const delivery = await stage.push(runner, { force: true });
    const run = await runner.waitForRun(acceptedRun(delivery), 'succeeded');
    expect(run.revision).toBe(old);
    expect(notesOf(run)).toContain(`rewritten: ${bad.slice(0, 8)}`);
    expect(await lastSynced(journal, ['platform/redis', 'platform/vault'])).toEqual({
      'platform/redis': old,
      'platform/vault': old,
    });
  });

  it('F39: a rebased branch runs only the services that differ in the end', async () => {
    const { stage, runner } = shared();
    const { repository, journal } = stage;
    const base = await repository.head();
    await commitChange(repository, ['platform/dashy'], 'Mine');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    const mine = await repository.head();
    await repository.git('reset', '--quiet', '--hard', base);
    await commitChange(repository, ['platform/minio'], 'Theirs');
    await repository.git('cherry-pick', mine);
    const rebased = await repository.head();
    const delivery = await stage.push(runner, { force: true });
    await runner.waitForRun(acceptedRun(delivery), 'succeeded');
    expect(await syncedAt(journal, rebased)).toEqual(['platform/minio']);
  });

  it('F39: an orphan history in place of the branch runs the services that differ from the deployed commit', async () => {
    const { stage, runner } = shared();
    const { repository, journal } = stage;
    await repository.git('checkout', '--quiet', '--orphan', 'fresh');
    const orphan = await commitChange(repository, ['platform/clickhouse'], 'A new beginning');
    const delivery = await stage.push(runner, { force: true, refspec: 'fresh:refs/heads/main' });
    const run = await runner.waitForRun(acceptedRun(delivery), 'succeeded');
    expect(notesOf(run)).toContain('rewritten');
    expect(await syncedAt(journal, orphan)).toEqual(['platform/clickhouse']);
    await repository.git('branch', '--quiet', '--force', 'main', 'fresh');
    await repository.git('checkout', '--quiet', 'main');
  });

  it('F39: a deleted branch is ignored, and its return runs the services that changed meanwhile', async () => {
    const { stage, runner } = shared();
    const { repository, journal } = stage;
    const before = await repository.head();
    await git(repository.path, ['update-ref', '-d', 'refs/heads/main']);
    const deleted = await deliverRefUpdate(stage, runner, {
      ref: 'refs/heads/main',
      before,
      after: NO_COMMIT,
    });
    expect(deleted).toMatchObject({ status: 200, body: { status: 'ignored' } });
    const back = await commitChange(repository, ['platform/authentik'], 'Back');
    const refUpdate = await repository.push();
    expect(refUpdate.before).toBe(NO_COMMIT);
    await runner.waitForRun(await deliveredRun(stage, runner, refUpdate), 'succeeded');
    expect(await syncedAt(journal, back)).toEqual(['platform/authentik']);
  });

  it('F39: a revert runs the services that change back', async () => {
    const { stage, runner } = shared();
    const { repository, journal } = stage;
    await commitChange(repository, ['platform/activepieces', 'platform/redis'], 'A mistake');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    await repository.git('revert', '--no-edit', 'HEAD');
    const reverted = await repository.head();
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    expect(await syncedAt(journal, reverted)).toEqual(['platform/activepieces', 'platform/redis']);
  });

  it('F40b: a change before the first commit that the payload lists is found', async () => {
    const { stage, runner } = shared();
    const { repository, journal } = stage;
    const changing = await commitChange(repository, ['platform/uptime-kuma'], 'The change');
    const stream = Array.from({ length: 2_100 }, (_, index) => {
      const message = `Note ${index}`;
      const from = index === 0 ? `from ${changing}\n` : '';
      return `commit refs/heads/main\ncommitter T <t@example.com> 0 +0000\ndata ${message.length}\n${message}\n${from}\n`;
    });
    await git(repository.clone, ['fast-import', '--quiet', '--force'], stream.join(''));
    const delivery = await stage.push(runner);
    expect(delivery.body).toMatchObject({ status: 'accepted', services: [] });
    const head = await repository.head();
    const run = await runner.waitForRun(acceptedRun(delivery), 'succeeded');
    expect(run.revision).toBe(head);
    expect(await syncedAt(journal, head)).toEqual(['platform/uptime-kuma']);
  });

  it('F35: a commit that is not on the branch is never deployed: the head is deployed, and the status says so', async () => {
    const { stage, runner } = shared();
    const { repository, journal } = stage;
    const head = await commitChange(repository, ['platform/minio'], 'On the branch; its webhook is lost');
    const { before } = await repository.push();
    await repository.git('checkout', '--quiet', '-b', 'side');
    const side = await commitChange(repository, ['platform/vault'], 'On another branch');
    await repository.push();
    await repository.git('checkout', '--quiet', 'main');
    const never = 'beef'.repeat(10);
    const refUpdate = { ref: 'refs/heads/main', before, after: side };
    const wrong = await deliveredRun(stage, runner, refUpdate);
    expect(await runner.waitForRun(wrong, 'superseded')).toMatchObject({ reason: 'not_on_branch' });
    const instead = await runner.waitForRun(({ revision }) => revision === head, 'succeeded');
    expect(await runner.waitForRun(wrong, 'superseded')).toMatchObject({ covered_by: instead.run_id });
    const unknown = await deliveredRun(stage, runner, refUpdate, { after: never });
    expect(await runner.waitForRun(unknown, 'superseded')).toMatchObject({ reason: 'not_on_branch' });
    shown.set(head, 'success').set(side, 'error');
    expect(await syncedAt(journal, side)).toEqual([]);
    expect(await syncedAt(journal, head)).toEqual(['platform/minio']);
  });

  it('F5: a replayed push never brings an older commit back', async () => {
    const { stage, runner } = shared();
    const { repository, journal } = stage;
    const pushes: RefUpdate[] = [];
    for (const services of [['platform/redis', 'platform/dashy'], ['platform/redis'], ['platform/vault']]) {
      await commitChange(repository, services, `Change ${services}`);
      pushes.push(await repository.push());
    }
    for (const refUpdate of pushes)
      await runner.waitForRun(await deliveredRun(stage, runner, refUpdate), 'succeeded');
    const before = (await journal.read()).syncs.length;
    for (const refUpdate of pushes) {
      await runner.waitForRun(await deliveredRun(stage, runner, refUpdate), 'final');
    }
    expect((await journal.read()).syncs.slice(before)).toEqual([]);
  });

  it('F5: a replayed push never brings an older commit back while the newest sync of a service has failed', async () => {
    const { stage, runner } = shared();
    const { repository, journal } = stage;
    const good = await commitChange(repository, ['platform/redis'], 'Good');
    const first = await repository.push();
    await runner.waitForRun(await deliveredRun(stage, runner, first), 'succeeded');
    const compose = `${FOLDERS['platform/redis']}/compose.yaml`;
    await repository.write(compose, 'services: {}\n');
    const bad = await repository.commit('Break redis');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'failed');
    const replay = await runner.waitForRun(await deliveredRun(stage, runner, first), 'final');
    expect(replay.state).toBe('superseded');
    expect(await lastSynced(journal, ['platform/redis'])).toEqual({ 'platform/redis': bad });
    await repository.git('checkout', '--quiet', good, '--', compose);
    const repaired = await repository.commit('Repair redis');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    expect(await syncedAt(journal, repaired)).toEqual(['platform/redis']);
    shown.set(bad, 'failure').set(repaired, 'success');
  });

  it('F5: a replayed push never brings its change back when it was undone before anything was synced', async () => {
    const { stage, runner } = shared();
    const { repository, journal } = stage;
    await commitChange(repository, ['platform/dashy'], 'Try something');
    const tried = await repository.push();
    await repository.git('revert', '--no-edit', 'HEAD');
    const undone = await repository.head();
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
    const before = (await journal.read()).syncs.length;
    await runner.waitForRun(await deliveredRun(stage, runner, tried), 'final');
    expect((await journal.read()).syncs.slice(before), `${undone} is the newest`).toEqual([]);
  });

  it('F7: when two pushes are delivered in the wrong order, the newer one stays deployed, and both statuses end', async () => {
    const { stage, runner } = shared();
    const { repository, journal } = stage;
    const older = await commitChange(repository, ['platform/redis', 'platform/signoz'], 'Older');
    const first = await repository.push();
    const newer = await commitChange(repository, ['platform/redis'], 'Newer');
    const second = await repository.push();
    await runner.waitForRun(await deliveredRun(stage, runner, second), 'succeeded');
    await runner.waitForRun(await deliveredRun(stage, runner, first), 'superseded');
    const ids = ['platform/redis', 'platform/signoz'];
    expect(await lastSynced(journal, ids)).toEqual({ 'platform/redis': newer, 'platform/signoz': newer });
    expect(await syncedAt(journal, older)).toEqual([]);
    // The older commit gets the outcome of the newer commit.
    shown.set(newer, 'success').set(older, 'success');
  });

  it('F7: a late older push is not called a success when the newer one failed', async () => {
    const { stage, runner } = shared();
    const { repository, journal } = stage;
    const older = await commitChange(repository, ['platform/minio'], 'Older');
    const first = await repository.push();
    const compose = `${FOLDERS['platform/minio']}/compose.yaml`;
    await repository.write(compose, 'services: {}\n');
    const newer = await repository.commit('Break minio');
    const second = await repository.push();
    await runner.waitForRun(await deliveredRun(stage, runner, second), 'failed');
    await runner.waitForRun(await deliveredRun(stage, runner, first), 'superseded');
    shown.set(newer, 'failure').set(older, 'no success');
    expect(await syncedAt(journal, newer)).toEqual(['platform/minio']);
    await repository.git('checkout', '--quiet', older, '--', compose);
    await repository.commit('Repair minio');
    await runner.waitForRun(acceptedRun(await stage.push(runner)), 'succeeded');
  });

  it('never made GitHub show a false success, and left no status pending', async () => {
    const { stage, runner } = shared();
    await waitForFinalStatuses(stage, runner);
    await expectNoFalseSuccess(stage, runner);
    for (const [sha, state] of shown) {
      const latest = stage.github.statuses.latest(sha);
      if (state === 'no success') expect(latest?.state).not.toBe('success');
      else expect(latest, sha).toMatchObject({ state });
    }
    expect((await stage.journal.read()).overlaps).toEqual([]);
  });
});
