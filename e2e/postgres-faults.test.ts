/** The database of several machines is killed, emptied, restored or paused, or one of the machines is. */

import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { expect, it, onTestFinished } from 'vitest';
import { runSql } from '../src/stores/postgres/postgres-server.fixture.ts';
import { waitUntilIdle } from './support/deliveries.ts';
import { describeUnless } from './support/describe-unless.ts';
import {
  addMachines,
  pausePostgres,
  setMachineStage,
  sharePostgres,
  withoutPostgres,
} from './support/machines.ts';
import {
  ALL_IDS,
  appendLine,
  commitChange,
  lastSynced,
  syncedAt,
  writeGatedService,
} from './support/platform-services.ts';
import { pushRun } from './support/pushed-run.ts';
import { acceptedRun } from './support/run-actions.ts';
import { openGate } from './support/shared-stage.ts';
import { until } from './support/until.ts';

const STORE_REPLACED = 'the store is another one than before';

/**
 * PostgreSQL ends one of two sessions that wait for each other. If it ends this session, the statement is run again.
 */
async function dropTables(storeUrl: string): Promise<void> {
  const isDeadlock = (error: unknown) => error instanceof Error && error.message.includes('deadlock');
  for (let isDone = false; !isDone; ) {
    isDone = await runSql(storeUrl, 'DROP SCHEMA IF EXISTS iac_runner CASCADE').then(
      () => true,
      (error: unknown) => {
        if (isDeadlock(error)) return false;
        throw error;
      },
    );
  }
}

describeUnless(withoutPostgres, 'When PostgreSQL or a machine fails', () => {
  const postgres = sharePostgres();

  it('no service is synced twice at once, and nothing that was accepted is lost, when the database or a server is killed in the middle of pushes', async () => {
    const { stage, startOn } = await setMachineStage(postgres(), 'postgres-chaos');
    const one = await startOn('one');
    let two = await startOn('two');
    const ids = ['platform/redis', 'platform/minio', 'platform/dashy'];
    const accepted: string[] = [];
    let head = '';
    for (let round = 0; round < 9; round += 1) {
      head = await commitChange(stage.repository, ids, `Change ${round}`);
      const answering = stage.push(round % 2 === 0 ? one : two);
      if (round === 3) {
        await two.kill();
        two = await startOn('two');
      }
      if (round === 6) {
        await postgres().kill();
        await postgres().start();
      }
      const answer = await answering;
      // No answer comes from the server that was killed, if it was killed before the push reached it.
      expect(round === 3 ? [200, null] : round === 6 ? [200, 503] : [200]).toContain(answer.status);
      if (answer.status === 200) accepted.push(acceptedRun(answer));
    }
    await until(
      'the ledger at the head',
      async () => {
        const last = await lastSynced(stage.journal, ids);
        return ids.every((id) => last[id] === head) ? true : null;
      },
      { timeoutMs: 90_000 },
    );
    await waitUntilIdle(one);
    for (const runId of accepted) expect((await one.getJson(`/runs/${runId}`)).status).toBe(200);
    expect((await stage.journal.read()).overlaps).toEqual([]);
    await stage.github.statuses.waitFor({ sha: head, state: 'success' });
    expect([await one.stop(), await two.stop()]).toEqual([0, 0]);
  });

  it('F49: every service is synced again once after the database was replaced by an empty one', async () => {
    const { stage, startOn } = await setMachineStage(postgres(), 'postgres-new');
    const runner = await startOn('one');
    await commitChange(stage.repository, ['platform/redis'], 'A change');
    const { runId } = await pushRun(stage, runner);
    await runner.waitForRun(runId, 'succeeded');
    await runner.stop();
    const before = (await stage.journal.read()).syncs.length;
    const emptied = await addMachines(postgres(), stage);
    const again = await emptied.startOn('one');
    const run = await again.waitForRun(() => true, 'succeeded');
    expect(run.message).toContain(`${ALL_IDS.length} service(s) synced`);
    await waitUntilIdle(again);
    expect((await stage.journal.read()).syncs).toHaveLength(before + ALL_IDS.length);
    expect(again.output()).toContain(STORE_REPLACED);
  });

  it('F49: every service is synced again once after the tables were dropped under two servers', async () => {
    const { stage, storeUrl, startOn } = await setMachineStage(postgres(), 'postgres-dropped');
    const before = [await startOn('one'), await startOn('two')];
    await dropTables(storeUrl);
    // Their supervisors start them again, which makes new tables.
    for (const { exited } of before) expect(await exited).toMatchObject({ exitCode: 1 });
    const after = await Promise.all([startOn('one'), startOn('two')]);
    const [one] = after;
    expect((await one.waitForRun(() => true, 'succeeded')).message).toContain(
      `${ALL_IDS.length} service(s) synced`,
    );
    await waitUntilIdle(one);
    const { syncs, overlaps } = await stage.journal.read();
    expect(syncs.map(({ service }) => service).toSorted()).toEqual(ALL_IDS);
    expect(overlaps).toEqual([]);
    for (const runner of after) expect(runner.output()).toContain(STORE_REPLACED);
  });

  it('F49: a service that an older dump knows nothing of is synced again once after that dump was restored', async () => {
    const { stage, storeUrl, startOn } = await setMachineStage(postgres(), 'postgres-dump');
    const runner = await startOn('one', { RECONCILE_INTERVAL: '1' });
    const sync = async (id: string, why: string) => {
      const commit = await commitChange(stage.repository, [id], why);
      expect((await stage.push(runner)).status).toBe(200);
      // The look at the branch may find the commit as well, and the newer of the two runs covers the other.
      return runner.waitForRun(
        ({ state, revision }) => state === 'succeeded' && revision === commit,
        'succeeded',
      );
    };
    await sync('platform/redis', 'Known to the dump');
    const dump = postgres().dump(storeUrl);
    const lost = await sync('platform/dashy', 'Lost');
    postgres().restore(storeUrl, dump);
    const again = await runner.waitForRun(
      ({ state, revision }) => state === 'succeeded' && revision === lost.revision,
      'succeeded',
    );
    expect(again.run_id).not.toBe(lost.run_id);
    expect((await runner.getJson(`/runs/${lost.run_id}`)).status).toBe(404);
    const { syncs, overlaps } = await stage.journal.read();
    expect(syncs.map(({ service }) => service)).toEqual([
      ...['platform/redis', 'platform/dashy', 'platform/dashy'],
    ]);
    expect(overlaps).toEqual([]);
    expect(await runner.stop()).toBe(0);
  });

  it('F51: pushes are answered 503 before GitHub gives up, and running work continues, while the database is paused for 30 s', async () => {
    const { stage, startOn } = await setMachineStage(postgres(), 'postgres-stall');
    const runner = await startOn('one');
    await writeGatedService(stage.repository, 'platform/06.gated', 'paused');
    const { runId } = await pushRun(stage, runner, 'A service that waits');
    await stage.journal.waitForStart('platform/gated');
    await appendLine(stage.repository, 'platform/04.dashy/conf.yml', '# paused');
    await stage.repository.commit('While the database stands still');
    const paused = pausePostgres(postgres());
    const from = performance.now();
    const refused = await stage.push(runner);
    // The local GitHub gives up after ten seconds, as GitHub does, and then there is no status.
    expect(refused.status).toBe(503);
    // The task ends while nothing can be written.
    await openGate(stage, 'paused');
    await sleep(30_000 - (performance.now() - from));
    expect((await runner.getJson('/health', null)).status).toBe(200);
    paused.end();
    await until('readiness', async () =>
      (await runner.getJson('/ready', null)).status === 200 ? true : null,
    );
    expect(await runner.waitForRun(runId, 'succeeded')).toMatchObject({ attempt: 1 });
    expect((await stage.github.redeliver(refused.deliveryId)).status).toBe(200);
    await stage.journal.waitForStart('platform/dashy');
    await waitUntilIdle(runner);
    const { syncs, overlaps } = await stage.journal.read();
    expect(syncs.map(({ service }) => service)).toEqual(['platform/gated', 'platform/dashy']);
    expect(overlaps).toEqual([]);
  });

  it('F51: a server that is paused in the middle of a write holds up the other one for a few seconds only', async () => {
    const { stage, storeUrl, startOn } = await setMachineStage(postgres(), 'postgres-paused');
    const one = await startOn('one');
    const two = await startOn('two');
    const holder = new Client(storeUrl);
    await holder.connect();
    onTestFinished(() => holder.end());
    // Only webhooks write to this table, so the transaction of the push stops there, with the lock of all writers.
    await holder.query('BEGIN; LOCK TABLE iac_runner.deliveries IN EXCLUSIVE MODE');
    const commit = await commitChange(stage.repository, ['platform/redis'], 'A change');
    const unanswered = stage.push(one);
    await until('the write that waits', async () => {
      const waiting = await runSql(
        storeUrl,
        "SELECT 1 FROM pg_locks WHERE locktype = 'relation' AND NOT granted",
      );
      return waiting.length > 0 ? true : null;
    });
    one.signal('SIGSTOP');
    await holder.query('ROLLBACK');
    const from = performance.now();
    await until('a write of the other server', async () => {
      const body = { services: ['platform/minio'] };
      return (await two.signedPost('/sync', body)).status === 200 ? true : null;
    });
    // The database ends the transaction of the paused server after five seconds; the rest is for a slow machine.
    expect(performance.now() - from).toBeLessThan(15_000);
    const { deliveryId } = await unanswered;
    one.signal('SIGCONT');
    const again = await stage.github.redeliver(deliveryId);
    expect(again.status).toBe(200);
    await two.waitForRun(acceptedRun(again), 'succeeded');
    await waitUntilIdle(two);
    expect((await syncedAt(stage.journal, commit)).filter((id) => id === 'platform/redis')).toHaveLength(1);
    expect([await one.stop(), await two.stop()]).toEqual([0, 0]);
  });
});
