/** A machine that dies or stands still in the middle of a task: another goes on, and never beside it. Needs redis-server. */

import { existsSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startRedisServer } from '../src/stores/redis-jobs/redis-server.fixture.ts';
import { because } from './support/because.ts';
import { DURABLE, machineEnvironment, withoutRedis } from './support/machines.ts';
import { writeGatedService } from './support/platform-services.ts';
import { pushRun } from './support/pushed-run.ts';
import { openGate } from './support/shared-stage.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

/** The shortest that can be set. */
const LEASE_SECONDS = '10';
const SERVICE = 'platform/gated';

/** A push whose task waits on machine `one`, and machine `two`, which has nothing to do. */
async function waitingTask(name: string, environment: Record<string, string>) {
  const stage = await setTestStage(name);
  const redis = await startRedisServer(...DURABLE);
  onTestFinished(() => redis.remove());
  const startOn = (machine: string) =>
    stage.start({
      environment: { ...machineEnvironment(stage, redis, machine), LEASE_SECONDS, ...environment },
    });
  const one = await startOn('one');
  await writeGatedService(stage.repository, 'platform/06.gated', 'open');
  await stage.repository.commit('A service that waits');
  const { runId } = await pushRun(stage, one);
  await stage.journal.waitForStart(SERVICE);
  return { stage, redis, one, two: await startOn('two'), runId };
}

function isGone(pid: number): boolean {
  return !existsSync(`/proc/${pid}`);
}

describe.skipIf(withoutRedis !== null).each([
  ['as a child of the server', {}],
  ['through the isolated executor', { EXECUTOR: 'isolated' }],
])(`A task that runs %s${because(withoutRedis)}`, (how, environment) => {
  it.each(['SIGKILL', 'SIGSTOP'] as const)(
    'F22: ends before another machine goes on when its own gets %s',
    async (signal) => {
      const name = `takeover-${how.split(' ').length}-${signal}`;
      const { stage, one, two, runId } = await waitingTask(name.toLowerCase(), environment);
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

describe.skipIf(withoutRedis !== null)(
  `A task whose worker cannot reach Redis${because(withoutRedis)}`,
  () => {
    it('F51: is ended before its lease is, and runs again when Redis is back', async () => {
      const { stage, redis, two, runId } = await waitingTask('takeover-redis', {});
      const [first] = (await stage.journal.read()).syncs;
      process.kill(redis.pid(), 'SIGSTOP');
      await until('the end of the task', async () => (isGone(first?.pid ?? 0) ? true : null));
      process.kill(redis.pid(), 'SIGCONT');
      await stage.journal.waitForStart(SERVICE, 2);
      expect((await stage.journal.read()).overlaps).toEqual([]);
      await openGate(stage, 'open');
      await two.waitForRun(runId, 'succeeded');
    });
  },
);
