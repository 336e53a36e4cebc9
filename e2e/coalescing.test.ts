/** Pushes that arrive while a sync is running. */

import { describe, expect, it } from 'vitest';
import { commitChange, syncedAt, writeGatedService } from './support/platform-services.ts';
import { deliveredRun, type RefUpdate } from './support/push-delivery.ts';
import { pushRun } from './support/pushed-run.ts';
import { acceptedRun } from './support/run-actions.ts';
import type { Runner } from './support/runner.ts';
import { openGate, shareStage } from './support/shared-stage.ts';
import type { Stage } from './support/stage.ts';
import { expectNoFalseSuccess, waitForFinalStatuses } from './support/truthful-statuses.ts';
import { until } from './support/until.ts';

describe('Pushes behind a sync that takes a long time', () => {
  const shared = shareStage('queue');

  /** Starts a sync of a service, which continues when the test opens its gate. */
  async function keepBusy(stage: Stage, runner: Runner, gate: string): Promise<string> {
    await writeGatedService(stage.repository, `platform/06.${gate}`, gate);
    const { runId } = await pushRun(stage, runner, `Add ${gate}`);
    await stage.journal.waitForStart(`platform/${gate}`);
    return runId;
  }

  it('become one run for the newest commit, and all of their commits get its outcome', async () => {
    const { stage, runner } = shared();
    const { repository, journal, github } = stage;
    const busy = await keepBusy(stage, runner, 'slow');
    const commits: string[] = [];
    const runIds: string[] = [];
    for (const service of ['dashy', 'redis', 'vault', 'redis', 'minio']) {
      commits.push(await commitChange(repository, [`platform/${service}`], `Change ${service}`));
      runIds.push(acceptedRun(await stage.push(runner)));
    }
    await openGate(stage, 'slow');
    await runner.waitForRun(busy, 'succeeded');
    const newest = commits.at(-1) ?? '';
    const run = await runner.waitForRun(runIds.at(-1) ?? '', 'succeeded');
    expect(run).toMatchObject({ revision: newest, message: '4 service(s) synced successfully' });
    expect(await syncedAt(journal, newest)).toEqual([
      ...['platform/dashy', 'platform/minio', 'platform/redis', 'platform/vault'],
    ]);
    for (const [index, sha] of commits.entries()) {
      if (sha !== newest) {
        expect(await syncedAt(journal, sha)).toEqual([]);
        expect(await runner.waitForRun(runIds[index] ?? '', 'superseded')).toMatchObject({
          reason: 'covered_by_newer',
          covered_by: run.run_id,
        });
      }
      const status = await github.statuses.waitFor({ sha, state: 'success' });
      expect(status).toMatchObject({ description: '4 service(s) synced successfully' });
      expect(status.targetUrl).toContain(run.run_id);
    }
  });

  it('F7: become one run for the newest commit, also when they arrive in the wrong order', async () => {
    const { stage, runner } = shared();
    const { repository, journal } = stage;
    const busy = await keepBusy(stage, runner, 'unordered');
    const pushes: RefUpdate[] = [];
    for (const service of ['dashy', 'redis', 'vault']) {
      await commitChange(repository, [`platform/${service}`], `Change ${service} again`);
      pushes.push(await repository.push());
    }
    const [a, b, c] = pushes;
    if (!a || !b || !c) throw new Error('Three commits were expected.');
    const ids: string[] = [];
    for (const refUpdate of [c, a, b]) ids.push(await deliveredRun(stage, runner, refUpdate));
    await openGate(stage, 'unordered');
    await runner.waitForRun(busy, 'succeeded');
    for (const id of ids) await runner.waitForRun(id, 'final');
    expect(await syncedAt(journal, c.after)).toEqual([
      ...['platform/dashy', 'platform/redis', 'platform/vault'],
    ]);
    expect([...(await syncedAt(journal, a.after)), ...(await syncedAt(journal, b.after))]).toEqual([]);
  });

  it('do not overtake a sync that was requested between them', async () => {
    const { stage, runner } = shared();
    const { repository, journal } = stage;
    const busy = await keepBusy(stage, runner, 'between');
    const first = await commitChange(repository, ['platform/redis'], 'Before the request');
    const ids = [acceptedRun(await stage.push(runner))];
    ids.push(acceptedRun(await runner.signedPost('/sync', { services: ['platform/dashy'], force: true })));
    const second = await commitChange(repository, ['platform/redis'], 'After the request');
    ids.push(acceptedRun(await stage.push(runner)));
    await openGate(stage, 'between');
    await runner.waitForRun(busy, 'succeeded');
    for (const id of ids) await runner.waitForRun(id, 'succeeded');
    const { syncs } = await journal.read();
    expect(syncs.slice(-3).map(({ service, commit }) => [service, commit])).toEqual([
      ['platform/redis', first],
      ['platform/dashy', second],
      ['platform/redis', second],
    ]);
  });

  it('wait for a sync that somebody requested, and no service runs twice at once', async () => {
    const { stage, runner } = shared();
    const { repository, journal } = stage;
    await writeGatedService(repository, 'platform/06.by-hand', 'by-hand');
    await repository.commit('Add by-hand');
    await repository.push();
    const asked = await runner.signedPost('/sync', { services: ['platform/by-hand', 'platform/redis'] });
    await journal.waitForStart('platform/by-hand');
    await writeGatedService(repository, 'platform/06.by-hand', 'always');
    const pushed = await commitChange(repository, ['platform/redis'], 'While by-hand runs');
    const second = acceptedRun(await stage.push(runner));
    expect((await runner.getJson(`/runs/${second}`)).body).toMatchObject({ state: 'queued' });
    await openGate(stage, 'always');
    await openGate(stage, 'by-hand');
    await runner.waitForRun(acceptedRun(asked), 'succeeded');
    await runner.waitForRun(second, 'succeeded');
    expect(await syncedAt(journal, pushed)).toEqual(['platform/by-hand', 'platform/redis']);
    expect((await journal.read()).overlaps).toEqual([]);
  });

  it('are never reported as deployed when they have left the branch meanwhile', async () => {
    const { stage, runner } = shared();
    const { repository, github } = stage;
    const busy = await keepBusy(stage, runner, 'forced');
    const base = await commitChange(repository, ['platform/minio'], 'Stays');
    acceptedRun(await stage.push(runner));
    const withdrawn = await commitChange(repository, ['platform/vault'], 'Taken back');
    const withdrawnRun = acceptedRun(await stage.push(runner));
    await repository.git('reset', '--quiet', '--hard', base);
    const kept = await commitChange(repository, ['platform/redis'], 'Instead');
    const instead = acceptedRun(await stage.push(runner, { force: true }));
    await openGate(stage, 'forced');
    await runner.waitForRun(busy, 'succeeded');
    await runner.waitForRun(instead, 'succeeded');
    await runner.waitForRun(withdrawnRun, 'superseded');
    await github.statuses.waitFor({ sha: kept, state: 'success' });
    await until('the final status of the withdrawn commit', () =>
      /error|failure|success/.exec(github.statuses.latest(withdrawn)?.state ?? ''),
    );
    expect(github.statuses.history(withdrawn).map(({ state }) => state)).not.toContain('success');
  });

  it('never made GitHub show a false success, and left no status pending', async () => {
    const { stage, runner } = shared();
    await waitForFinalStatuses(stage, runner);
    await expectNoFalseSuccess(stage, runner);
    expect((await stage.journal.read()).overlaps).toEqual([]);
  });
});
