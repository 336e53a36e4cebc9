/** Jobs while Redis refuses commands, loses data or restores old data. Each test has the name of its fault. */

import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { describeUnless } from './support/describe-unless.ts';
import { DURABLE, type JobStage, type JobWorkerProcess, setJobStage, withoutRedis } from './support/jobs.ts';
import { until } from './support/until.ts';

/** Runs for as many seconds as the prompt says. */
const AGENT = 'read seconds; sleep "$seconds"; echo x > note.txt';
/** One job of a user at a time, so that others wait in the stream. */
const SETTINGS = { MAX_JOBS_PER_USER: '1', RETRY_LIMIT: '99' };

describeUnless(withoutRedis, 'Jobs, when Redis fails', () => {
  async function ofOneCommitEach(stage: JobStage, ids: string[]): Promise<void> {
    for (const id of ids) {
      const range = `main..refs/heads/repobox/${id.slice(0, 8)}`;
      expect(await stage.git('rev-list', '--count', range)).toBe('1');
    }
  }

  async function succeeded(stage: JobStage, ids: string[]): Promise<void> {
    for (const id of ids) expect(await stage.ended(id)).toMatchObject({ status: 'success' });
    await ofOneCommitEach(stage, ids);
  }

  /** Starts a job that runs for this long, and waits until it runs. */
  async function runningJob(stage: JobStage, seconds: number): Promise<string> {
    const { id } = await stage.job({ prompt: `${seconds}` });
    await until('a running job', async () => ((await stage.hash(id)).status === 'running' ? true : null));
    return id;
  }

  async function nothingIsLeft({ redis }: JobStage): Promise<void> {
    await until('an empty stream', async () => ((await redis.xlen('jobs:stream')) === 0 ? true : null));
    expect((await redis.xpending('jobs:stream', 'jobs:stream:runners'))[0]).toBe(0);
    expect(await redis.get('runner:user:ada:running')).toBe('0');
    expect(await redis.zcard('runner:leases')).toBe(0);
  }

  describe('F51: continue with the same worker after', () => {
    let stage: JobStage;
    let worker: JobWorkerProcess;
    beforeAll(async () => {
      stage = await setJobStage('jobs-faults', ...DURABLE, '--enable-debug-command', 'yes');
      worker = await stage.startWorker({ ...SETTINGS, AGENT_COMMAND: await stage.writeAgent(AGENT) });
    });
    afterAll(() => stage.close());

    it.each([
      ['DEL of the stream', (redis: JobStage['redis']) => redis.del('jobs:stream')],
      ['XTRIM MAXLEN 0', (redis: JobStage['redis']) => redis.xtrim('jobs:stream', 'MAXLEN', 0)],
    ])('%s: running jobs and later jobs are done', async (_name, fault) => {
      const running = await runningJob(stage, 2);
      await fault(stage.redis);
      const { id: later } = await stage.job({ prompt: '0' });
      await succeeded(stage, [running, later]);
      await nothingIsLeft(stage);
    });

    it('SET in place of the stream, which the worker waits out', async () => {
      const running = await runningJob(stage, 2);
      await stage.redis.set('jobs:stream', 'x');
      await sleep(3_000);
      // The waiting jobs are lost with the stream, but not the running ones.
      await stage.redis.del('jobs:stream');
      const { id: later } = await stage.job({ prompt: '0' });
      await succeeded(stage, [running, later]);
      await nothingIsLeft(stage);
    });

    it('NOGROUP: the group is created again from the first entry, and no job is started twice', async () => {
      const running = await runningJob(stage, 2);
      const { id: waiting } = await stage.job({ prompt: '0' });
      await stage.redis.xgroup('DESTROY', 'jobs:stream', 'jobs:stream:runners');
      const { id: later } = await stage.job({ prompt: '0' });
      await succeeded(stage, [running, waiting, later]);
      await nothingIsLeft(stage);
      expect((await stage.hash(running)).lines_added).toBe('1');
    });

    it.each<[name: string, begin: (stage: JobStage) => unknown, end: (stage: JobStage) => unknown]>([
      [
        'CONFIG SET maxmemory',
        ({ redis }) => redis.config('SET', 'maxmemory', '1'),
        ({ redis }) => redis.config('SET', 'maxmemory', '0'),
      ],
      [
        'READONLY, as it became a replica',
        ({ redis }) => redis.replicaof('127.0.0.1', 1),
        ({ redis }) => redis.replicaof('NO', 'ONE'),
      ],
      [
        'another password',
        async ({ redis }) => {
          await redis.config('SET', 'requirepass', 'another');
          await redis.call('CLIENT', 'KILL', 'TYPE', 'normal');
        },
        ({ redis }) => redis.config('SET', 'requirepass', ''),
      ],
    ])('%s: the results of the meantime are written when it is over', async (_name, begin, end) => {
      const running = await runningJob(stage, 1);
      const { id: waiting } = await stage.job({ prompt: '0' });
      await begin(stage);
      await sleep(4_000);
      await end(stage);
      await succeeded(stage, [running, waiting]);
      await nothingIsLeft(stage);
    });

    it('DEBUG SLEEP, a pause of 30 s: running jobs continue and are done once', async () => {
      const running = await runningJob(stage, 5);
      const { id: waiting } = await stage.job({ prompt: '0' });
      await stage.server.client().call('DEBUG', 'SLEEP', '30');
      await succeeded(stage, [running, waiting]);
      await nothingIsLeft(stage);
    });

    it('all of these faults, and the worker has started no job twice, and stops normally', async () => {
      const started = stage.workerLogs().flatMap(({ msg, job }) => (msg === 'job started' ? [job] : []));
      expect(started.length).toBeGreaterThan(10);
      expect(new Set(started).size).toBe(started.length);
      expect(await worker.stop()).toBe(0);
    });
  });

  it('F49: lose nothing and do nothing twice after SHUTDOWN NOSAVE of a Redis with an append-only file', async () => {
    const stage = await stageFor('jobs-shutdown', ...DURABLE);
    const running = await runningJob(stage, 3);
    const { id: waiting } = await stage.job({ prompt: '0' });
    await stage.server.shutDown();
    await sleep(1_000);
    await stage.server.start();
    await succeeded(stage, [running, waiting]);
    await nothingIsLeft(stage);
  });

  it('F49: are all lost after SHUTDOWN NOSAVE of a Redis without such a file, and later jobs are done', async () => {
    const stage = await stageFor('jobs-nosave');
    expect(stage.workerLogs().some(({ msg }) => String(msg).includes('appendonly'))).toBe(true);
    const running = await runningJob(stage, 3);
    const provider = await stage.redis.hgetall('git_provider:ada:p1');
    await stage.server.shutDown();
    await stage.server.start();
    await stage.redis.hset('git_provider:ada:p1', provider);
    const { id: later } = await stage.job({ prompt: '0' });
    await succeeded(stage, [later]);
    await nothingIsLeft(stage);
    // No part of its hash is left.
    expect(await stage.redis.exists(`job:${running}`)).toBe(0);
  });

  it('F49: are done again after an older dump.rdb was restored, and their branches are the same', async () => {
    const stage = await stageFor('jobs-dump');
    const dump = (name: string) => join(stage.server.directory, name);
    const running = await runningJob(stage, 2);
    const { id: waiting } = await stage.job({ prompt: '0' });
    await stage.redis.save();
    copyFileSync(dump('dump.rdb'), dump('kept.rdb'));
    await succeeded(stage, [running, waiting]);
    await stage.server.kill();
    copyFileSync(dump('kept.rdb'), dump('dump.rdb'));
    await stage.server.start();
    expect((await stage.hash(waiting)).status).toBe('pending');
    const { id: later } = await stage.job({ prompt: '0' });
    await succeeded(stage, [waiting, later, running]);
    await nothingIsLeft(stage);
  });

  async function stageFor(name: string, ...options: string[]): Promise<JobStage> {
    const stage = await setJobStage(name, ...options);
    onTestFinished(async ({ task }) => stage.close({ keep: task.result?.state === 'fail' }));
    const agent = await stage.writeAgent(AGENT);
    await stage.startWorker({ ...SETTINGS, AGENT_COMMAND: agent, CLAIM_IDLE_MS: '3000' });
    return stage;
  }
});
