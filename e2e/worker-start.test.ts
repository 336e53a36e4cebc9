/** What machines that share a Redis refuse at their start, with nothing begun. Needs redis-server. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startRedisServer } from '../src/stores/redis-jobs/redis-server.fixture.ts';
import { because } from './support/because.ts';
import { setJobStage } from './support/jobs.ts';
import { DURABLE, machineEnvironment, withoutRedis } from './support/machines.ts';
import { runProgram } from './support/runner.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

const REFUSED = 3;

describe.skipIf(withoutRedis !== null)(`A machine that starts${because(withoutRedis)}`, () => {
  it('with the name of another that is alive is refused, and that one goes on', async () => {
    const stage = await setTestStage('worker-start-name');
    const redis = await startRedisServer(...DURABLE);
    onTestFinished(() => redis.remove());
    const one = await stage.start({ environment: machineEnvironment(stage, redis, 'one') });
    const again = { ...machineEnvironment(stage, redis, 'copy'), WORKER_ID: 'one' };
    const refused = await runProgram(['worker'], { ...stage.runnerOptions, environment: again });
    expect([refused.exitCode, refused.stderr]).toEqual([
      REFUSED,
      expect.stringContaining('Another machine that shares this store has the name one.'),
    ]);
    expect(await one.stop()).toBe(0);
    const after = await stage.start({ environment: again });
    expect(await after.stop()).toBe(0);
  });

  it('with a database that Redis does not have is refused', async () => {
    const stage = await setTestStage('worker-start-database');
    const redis = await startRedisServer('--databases', '4');
    onTestFinished(() => redis.remove());
    for (const [end, exitCode, said] of [
      ['/4', 1, 'Correct the number at the end of STORE_URL.'],
      ['/four', REFUSED, 'STORE_URL is wrong'],
    ] as const) {
      const environment = {
        ...machineEnvironment(stage, redis, 'one'),
        STORE_URL: `${redis.url}${end}`,
      };
      const refused = await runProgram(['worker'], { ...stage.runnerOptions, environment });
      expect([refused.exitCode, refused.stderr]).toEqual([exitCode, expect.stringContaining(said)]);
    }
    expect(await redis.client().dbsize()).toBe(0);
  });

  it('and cannot work on runs leaves the jobs alone', async () => {
    const stage = await setTestStage('worker-start-both');
    const jobs = await setJobStage('worker-start-jobs');
    onTestFinished(() => jobs.close());
    const { id } = await jobs.job();
    const environment = {
      ...machineEnvironment(stage, { url: jobs.server.url }, 'one'),
      ...{ REDIS_URL: jobs.server.url, ENCRYPTION_KEY: '0123456789abcdef'.repeat(4) },
      // Of another process.
      DATA_DIR: join(stage.folder, 'data'),
    };
    const server = await stage.start();
    const refused = await runProgram(['worker'], { ...stage.runnerOptions, environment });
    expect([refused.exitCode, refused.stderr]).toEqual([1, expect.stringContaining('already uses')]);
    expect(await jobs.hash(id)).toMatchObject({ status: 'pending' });
    await server.stop();
  });

  it('for jobs whose agent is not there is refused, and takes none', async () => {
    const jobs = await setJobStage('worker-start-agent');
    onTestFinished(() => jobs.close());
    const { id } = await jobs.job();
    for (const AGENT_COMMAND of ['/no/such/agent --print', 'no-such-agent']) {
      await expect(jobs.startWorker({ AGENT_COMMAND })).rejects.toThrow(
        /ended with 3.*The program of AGENT_COMMAND, \S+, was not found\. Install it/s,
      );
    }
    expect(await jobs.hash(id)).toMatchObject({ status: 'pending' });
    const worker = await jobs.startWorker({ AGENT_COMMAND: 'true' });
    await until('the warning', () => (worker.output().includes('the agent runs as the user') ? true : null));
    expect((await jobs.ended(id)).status).toBe('success');
  });

  it('for jobs with an executor that says nothing stops as soon as it is asked to', async () => {
    const jobs = await setJobStage('worker-start-silent');
    onTestFinished(() => jobs.close());
    const { id } = await jobs.job();
    const silent = await jobs.writeAgent('kill -TERM $PPID; exec sleep 600', 'silent');
    const executor = { EXECUTOR: 'isolated', EXECUTOR_COMMAND: silent };
    await expect(jobs.startWorker({ AGENT_COMMAND: 'true', ...executor })).rejects.toThrow(
      /^The worker ended with 0: /,
    );
    expect(await jobs.hash(id)).toMatchObject({ status: 'pending' });
    expect(await readdir(jobs.tempDir)).toEqual([]);
  });
});
