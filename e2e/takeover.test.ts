/** A machine dies or is paused in the middle of a task: another machine continues the task, but never beside it. */

import { expect, it } from 'vitest';
import type { PostgresServer } from '../src/stores/postgres/postgres-server.fixture.ts';
import { describeUnless } from './support/describe-unless.ts';
import { pausePostgres, setMachineStage, sharePostgres, withoutPostgres } from './support/machines.ts';
import { writeGatedService } from './support/platform-services.ts';
import { isAlive } from './support/processes.ts';
import { pushRun } from './support/pushed-run.ts';
import { openGate } from './support/shared-stage.ts';
import { until } from './support/until.ts';

/** The shortest lease that can be set. */
const LEASE_SECONDS = '10';
const SERVICE = 'platform/gated';

/** A push whose task waits on machine `one`, and a machine `two` that has nothing to do. */
async function waitingTask(server: PostgresServer, name: string, environment: Record<string, string>) {
  const { stage, startOn } = await setMachineStage(server, name);
  const start = (machine: string) => startOn(machine, { LEASE_SECONDS, ...environment });
  const one = await start('one');
  await writeGatedService(stage.repository, 'platform/06.gated', 'open');
  await stage.repository.commit('A service that waits');
  const { runId } = await pushRun(stage, one);
  await stage.journal.waitForStart(SERVICE);
  return { stage, one, two: await start('two'), runId };
}

for (const [how, environment] of [
  ['as a child of the server', {}],
  ['through the isolated executor', { EXECUTOR: 'isolated' }],
] as const) {
  describeUnless(withoutPostgres, `A task that runs ${how}`, () => {
    const postgres = sharePostgres();

    it.each(['SIGKILL', 'SIGSTOP'] as const)(
      'F22: ends before another machine runs it again when its own server gets %s',
      async (signal) => {
        const name = `takeover-${how.split(' ').length}-${signal}`.toLowerCase();
        const { stage, one, two, runId } = await waitingTask(postgres(), name, environment);
        one.signal(signal);
        await stage.journal.waitForStart(SERVICE, 2);
        expect((await stage.journal.read()).overlaps).toEqual([]);
        await openGate(stage, 'open');
        const run = await two.waitForRun(runId, 'succeeded');
        expect(run.attempt).toBe(2);
        if (signal === 'SIGSTOP') {
          one.signal('SIGCONT');
          expect(await one.stop()).toBe(0);
          expect(one.output()).toContain('run taken over by another worker');
        }
        expect((await two.waitForRun(runId, 'succeeded')).attempt).toBe(2);
        expect((await stage.journal.read()).syncs).toHaveLength(2);
      },
    );
  });
}

describeUnless(withoutPostgres, 'A task whose worker cannot reach the database', () => {
  const postgres = sharePostgres();

  it('F51: is ended before its lease ends, and runs again when the database is back', async () => {
    const { stage, two, runId } = await waitingTask(postgres(), 'takeover-database', {});
    const [first] = (await stage.journal.read()).syncs;
    const paused = pausePostgres(postgres());
    await until('the end of the task', async () => (isAlive(first?.pid ?? 0) ? null : true));
    paused.end();
    await stage.journal.waitForStart(SERVICE, 2);
    expect((await stage.journal.read()).overlaps).toEqual([]);
    await openGate(stage, 'open');
    await two.waitForRun(runId, 'succeeded');
  });
});
