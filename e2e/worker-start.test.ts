/** Machines that share a store refuse some configurations at their start, before they begin any work. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { runSql } from '../src/stores/postgres/postgres-server.fixture.ts';
import { describeUnless } from './support/describe-unless.ts';
import { setJobStage, withoutRedis } from './support/jobs.ts';
import { machineEnvironment, setMachineStage, sharePostgres, withoutPostgres } from './support/machines.ts';
import { runProgram } from './support/runner.ts';
import { setTestStage } from './support/test-stage.ts';
import { until } from './support/until.ts';

const REFUSED = 3;

describeUnless(withoutPostgres, 'A machine that starts', () => {
  const postgres = sharePostgres();

  it('with the name of another live machine is refused, and the other one continues', async () => {
    const { stage, storeUrl, startOn } = await setMachineStage(postgres(), 'worker-start-name');
    const one = await startOn('one');
    const again = { ...machineEnvironment(stage, storeUrl, 'copy'), WORKER_ID: 'one' };
    const refused = await runProgram(['worker'], { ...stage.runnerOptions, environment: again });
    expect([refused.exitCode, refused.stderr]).toEqual([
      REFUSED,
      expect.stringContaining('Another machine that shares this store has the name one.'),
    ]);
    expect(await one.stop()).toBe(0);
    const after = await stage.start({ environment: again });
    expect(await after.stop()).toBe(0);
  });

  it('is refused in one line when STORE_URL names no database that exists', async () => {
    const { stage, storeUrl } = await setMachineStage(postgres(), 'worker-start-database');
    for (const [url, exitCode, said] of [
      [
        `${storeUrl}_missing`,
        1,
        /database "\w+_missing" does not exist.* Create the database that STORE_URL names/,
      ],
      [
        storeUrl.replace(/\/\w+$/, ''),
        REFUSED,
        /STORE_URL is wrong: expected the address of a PostgreSQL database/,
      ],
      ['redis://:e2e-old-password@127.0.0.1:6379', REFUSED, /STORE_URL is wrong: .* PostgreSQL .*Redis/],
    ] as const) {
      for (const command of ['serve', 'worker']) {
        const environment = { ...machineEnvironment(stage, storeUrl, 'one'), STORE_URL: url };
        const refused = await runProgram([command], { ...stage.runnerOptions, environment });
        expect(refused).toMatchObject({ exitCode, stderr: expect.stringMatching(said) });
        expect(refused.stderr.split('\n')).toHaveLength(1);
        expect(refused.stderr + refused.stdout).not.toContain('e2e-old-password');
      }
    }
    expect(await runSql(storeUrl, "SELECT 1 FROM pg_namespace WHERE nspname = 'iac_runner'")).toEqual([]);
  });

  it('F51: is refused in one line, without the password, when the password in STORE_URL is wrong', async () => {
    const { stage, storeUrl } = await setMachineStage(postgres(), 'worker-start-password');
    await runSql(storeUrl, "CREATE ROLE runner LOGIN PASSWORD 'right'");
    for (const command of ['serve', 'worker']) {
      const environment = {
        ...machineEnvironment(stage, storeUrl, 'one'),
        STORE_URL: storeUrl.replace('iac@', 'runner:wrong-e2e-password@'),
      };
      const refused = await runProgram([command], { ...stage.runnerOptions, environment });
      expect(refused.exitCode).toBe(1);
      expect(refused.stderr).toMatch(/^[^\n]*Check the user and the password in STORE_URL\.$/);
      expect(refused.stderr + refused.stdout).not.toContain('wrong-e2e-password');
    }
  });

  it.skipIf(withoutRedis !== null)('and cannot work on runs leaves the jobs alone', async () => {
    const stage = await setTestStage('worker-start-both');
    const jobs = await setJobStage('worker-start-jobs');
    onTestFinished(() => jobs.close());
    const { id } = await jobs.job();
    const environment = {
      ...machineEnvironment(stage, await postgres().createDatabase(), 'one'),
      REDIS_URL: jobs.server.url,
      ENCRYPTION_KEY: '0123456789abcdef'.repeat(4),
      // Another process uses it.
      DATA_DIR: join(stage.folder, 'data'),
    };
    const server = await stage.start();
    const refused = await runProgram(['worker'], { ...stage.runnerOptions, environment });
    expect([refused.exitCode, refused.stderr]).toEqual([1, expect.stringContaining('already uses')]);
    expect(await jobs.hash(id)).toMatchObject({ status: 'pending' });
    await server.stop();
  });
});

describeUnless(withoutRedis, 'A worker for jobs that starts', () => {
  it('is refused when its agent does not exist, and takes no job', async () => {
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

  it('for jobs with an executor that says nothing stops as soon as it gets SIGTERM', async () => {
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
