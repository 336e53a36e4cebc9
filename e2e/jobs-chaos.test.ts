/** Each job has its effect once, even if workers die, pause and stop, and if Redis is away. */

import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { describeUnless } from './support/describe-unless.ts';
import {
  type JobStage,
  type JobWorkerProcess,
  NOTE_AGENT,
  setJobStage,
  withoutRedis,
} from './support/jobs.ts';
import { until } from './support/until.ts';

const USERS = ['ada', 'bob', 'cy', 'dee', 'eve'];
const LIMIT = 2;
/** If no job ends for this long, there is a defect. */
const STANDSTILL_MS = 120_000;
const CLAIM_IDLE_MS = 2_500;
const SETTINGS = {
  CLAIM_IDLE_MS: String(CLAIM_IDLE_MS),
  MAX_JOBS_PER_USER: String(LIMIT),
  MAX_CONCURRENT_JOBS: '4',
  RETRY_LIMIT: '99',
  LOG_LEVEL: 'info',
};

describeUnless(withoutRedis, 'Jobs in a storm', () => {
  async function stageFor(name: string, ...options: string[]): Promise<JobStage> {
    const stage = await setJobStage(name, ...options);
    onTestFinished(async ({ task }) => stage.close({ keep: task.result?.state === 'fail' }));
    return stage;
  }

  async function produceMany(stage: JobStage, count: number, first = 0): Promise<string[]> {
    const ids: string[] = [];
    for (let index = first; index < first + count; index += 1) {
      const userId = USERS[index % USERS.length] ?? 'ada';
      ids.push((await stage.job({ userId, prompt: `Change ${index}` })).id);
    }
    return ids;
  }

  /** Records the highest value of each counter. */
  function watchCounters(stage: JobStage) {
    const highest = new Map<string, number>();
    const redis = stage.server.client();
    const timer = setInterval(async () => {
      const counts = await redis.mget(USERS.map((user) => `runner:user:${user}:running`)).catch(() => []);
      for (const [index, count] of counts.entries()) {
        const user = USERS[index] ?? '';
        highest.set(user, Math.max(highest.get(user) ?? 0, Number(count ?? 0)));
      }
    }, 5);
    return {
      stop() {
        clearInterval(timer);
        return Math.max(...highest.values());
      },
    };
  }

  /** Returns the jobs that have not succeeded yet. Throws if a job failed. */
  async function openJobs(stage: JobStage, ids: string[]): Promise<string[]> {
    const statuses = await Promise.all(
      ids.map((id) => stage.redis.hget(`job:${id}`, 'status').catch(() => null)),
    );
    const failed = statuses.indexOf('failed');
    if (failed >= 0) throw new Error(JSON.stringify(await stage.hash(ids[failed] ?? '')));
    return ids.filter((_, index) => statuses[index] !== 'success');
  }

  /** Waits as long as jobs keep ending. */
  async function waitForAll(stage: JobStage, ids: string[]): Promise<void> {
    for (let open = ids; open.length > 0; ) {
      open = await until(
        'the end of another job',
        async () => {
          const still = await openJobs(stage, ids);
          return still.length < open.length || still.length === 0 ? still : null;
        },
        { timeoutMs: STANDSTILL_MS, seen: () => `${open.length} of ${ids.length} are open: ${open[0]}` },
      );
    }
  }

  async function expectOneEffectEach(stage: JobStage, ids: string[]): Promise<void> {
    const listed = await stage.git(
      'for-each-ref',
      '--format=%(refname:short) %(subject)',
      'refs/heads/repobox',
    );
    const wanted = ids.map((id, index) => `repobox/${id.slice(0, 8)} repobox: Change ${index}`);
    expect(listed.split('\n').sort()).toEqual(wanted.sort());
    // Each branch has one commit, on top of the commit where all jobs start.
    expect(await stage.git('rev-list', '--count', '--glob=refs/heads/repobox/*', '^main')).toBe(
      `${ids.length}`,
    );
    expect(await stage.git('rev-list', '--count', '--merges', '--all')).toBe('0');
  }

  async function expectNothingLeft(stage: JobStage): Promise<void> {
    const { redis } = stage;
    await until('an empty stream', async () => ((await redis.xlen('jobs:stream')) === 0 ? true : null));
    const counts = await redis.mget(USERS.map((user) => `runner:user:${user}:running`));
    expect(counts).toEqual(USERS.map(() => '0'));
    expect((await redis.xpending('jobs:stream', 'jobs:stream:runners'))[0]).toBe(0);
    expect(await redis.zcard('runner:leases')).toBe(0);
    expect(await redis.keys('runner:*:holders')).toEqual([]);
    expect(await redis.keys('runner:job:*')).toEqual([]);
    expect(await redis.exists('jobs:stream:aside')).toBe(0);
  }

  /**
   * Kills two workers in turn, and pauses the third one for longer than its lease. Between two of these faults at least
   * one job ends, so that the storm is slow on a slow machine.
   */
  async function startStorm(stage: JobStage, start: (name: string) => Promise<JobWorkerProcess>) {
    const workers = await Promise.all(['one', 'two', 'three'].map(start));
    const storm = new AbortController();
    const pause = (ms: number) => sleep(ms, undefined, { signal: storm.signal }).catch(() => undefined);
    const faults = { kills: 0, pauses: 0 };
    const ends = () => stage.workerLogs().filter(({ msg }) => msg === 'job ended').length;
    async function calm(ms: number): Promise<void> {
      const before = ends();
      await pause(ms);
      await until('the end of some job', () => (storm.signal.aborted || ends() > before ? true : null), {
        timeoutMs: STANDSTILL_MS,
      });
    }
    const killing = (async () => {
      for (let index = 0; ; index = (index + 1) % 2) {
        await calm(3_000);
        if (storm.signal.aborted) return;
        await workers[index]?.kill();
        workers[index] = await start(['one', 'two'][index] ?? '');
        faults.kills += 1;
      }
    })();
    const pausing = (async () => {
      for (;;) {
        await calm(1_500);
        if (storm.signal.aborted) return;
        workers[2]?.signal('SIGSTOP');
        await pause(CLAIM_IDLE_MS + 1_500);
        workers[2]?.signal('SIGCONT');
        faults.pauses += 1;
      }
    })();
    return {
      /** Returns whether jobs were started again and a paused worker found that it had lost one. */
      hasCausedEnough() {
        const logs = stage.workerLogs();
        const isStartedAgain = logs.some(({ msg, attempt }) => msg === 'job started' && attempt === 2);
        const isLost = logs.some(
          ({ msg }) => msg === 'a job was lost to another worker, and is not ended here',
        );
        return faults.kills >= 6 && faults.pauses >= 4 && isStartedAgain && isLost;
      },
      async end() {
        storm.abort();
        await Promise.all([killing, pausing]);
        return workers;
      },
    };
  }

  it('F50: all end once while workers are killed and one is paused for longer than its lease', async () => {
    const stage = await stageFor('jobs-storm');
    const agent = await stage.writeAgent(NOTE_AGENT);
    const storm = await startStorm(stage, (name) =>
      stage.startWorker({ ...SETTINGS, AGENT_COMMAND: agent, RUNNER_ID: name }),
    );
    const counters = watchCounters(stage);
    const ids = await produceMany(stage, 40);
    let workers: JobWorkerProcess[] = [];
    try {
      // There are enough jobs that every user has some until the storm has caused enough faults.
      await until(
        'a storm with enough faults',
        async () => {
          const missingJobs = 20 - (await openJobs(stage, ids)).length;
          if (missingJobs > 0) ids.push(...(await produceMany(stage, missingJobs, ids.length)));
          return storm.hasCausedEnough() ? true : null;
        },
        { timeoutMs: 600_000 },
      );
      await waitForAll(stage, ids);
    } finally {
      workers = await storm.end();
    }
    expect(counters.stop()).toBe(LIMIT);
    await expectOneEffectEach(stage, ids);
    await expectNothingLeft(stage);
    expect(await Promise.all(workers.map((worker) => worker.stop()))).toEqual([0, 0, 0]);
  }, 900_000);

  it('F49: all end once although Redis is killed and started again in the middle', async () => {
    const stage = await stageFor('jobs-restart', '--appendonly', 'yes', '--appendfsync', 'always');
    const agent = await stage.writeAgent(`${NOTE_AGENT}; sleep 0.3`);
    await stage.startWorker({ ...SETTINGS, AGENT_COMMAND: agent });
    await stage.startWorker({ ...SETTINGS, AGENT_COMMAND: agent });
    const ids = await produceMany(stage, 30);
    for (let round = 0; round < 3; round += 1) {
      await sleep(700);
      await stage.server.kill();
      await sleep(round * 1_500);
      await stage.server.start();
    }
    await waitForAll(stage, ids);
    await expectOneEffectEach(stage, ids);
    await expectNothingLeft(stage);
  }, 300_000);

  it('F51: are done when they arrive after everything in Redis was deleted', async () => {
    const stage = await stageFor('jobs-flush');
    const agent = await stage.writeAgent(`${NOTE_AGENT}; sleep 1`);
    const worker = await stage.startWorker({ ...SETTINGS, AGENT_COMMAND: agent });
    const lost = await produceMany(stage, 6);
    await until('a running job', async () => ((await stage.redis.zcard('runner:leases')) > 0 ? true : null));
    const providers = await Promise.all(USERS.map((user) => stage.redis.hgetall(`git_provider:${user}:p1`)));
    await stage.redis.flushall();
    for (const [index, user] of USERS.entries()) {
      await stage.redis.hset(`git_provider:${user}:p1`, providers[index] ?? {});
    }
    const ids = await produceMany(stage, 6);
    await waitForAll(stage, ids);
    expect(await stage.redis.exists(...lost.map((id) => `job:${id}`))).toBe(0);
    expect(await worker.stop()).toBe(0);
  }, 300_000);
});
