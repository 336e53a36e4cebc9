import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type JobStore, openJobStore } from '../store/job-store.ts';
import { produce } from '../store/jobs.fixture.ts';
import { hasRedisServer, startRedisServer } from '../store/redis-server.fixture.ts';
import { type ConsumeJobsOptions, consumeJobs } from './consume-jobs.ts';

const missing = !hasRedisServer();

/** A Redis with the group of the workers. It and everything opened on it end with the test. */
async function startStage(claimIdleMs = 60_000) {
  const server = await startRedisServer();
  onTestFinished(() => server.remove());
  async function open(runnerId: string): Promise<JobStore> {
    const instance = randomUUID();
    const limits = { jobsPerUser: 10, claimIdleMs, maxAttempts: 3 };
    const store = await openJobStore({ url: server.url, runnerId, instance, ...limits });
    onTestFinished(() => store.close());
    return store;
  }
  const store = await open('one');
  await store.ensureGroup();
  return { redis: server.client(), store, open };
}

/** One job at a time, unless `options` says otherwise. */
function consume(options: Pick<ConsumeJobsOptions, 'store' | 'work'> & Partial<ConsumeJobsOptions>): void {
  const consumer = consumeJobs({
    concurrency: 1,
    claimIdleMs: 60_000,
    timeoutMs: 60_000,
    drainTimeoutMs: 1_000,
    now: Date.now,
    log: pino({ level: 'silent' }),
    ...options,
  });
  onTestFinished(() => consumer.drain());
}

describe.skipIf(missing)(
  `consuming jobs${missing ? ' (skipped: redis-server is not installed)' : ''}`,
  () => {
    it('goes on after work that throws, and says so in the job', async () => {
      const { redis, store } = await startStage();
      consume({
        store,
        async work({ id }, { output }) {
          if (id === 'synchronous') throw new TypeError('Cannot read it.');
          if (id === 'odd') throw null;
          await output('stdout', ['good']);
          return { status: 'failed', message: 'Enough.' };
        },
      });
      for (const id of ['synchronous', 'odd', 'good']) await produce(redis, { id });
      await expect.poll(() => redis.xlen('jobs:stream')).toBe(0);
      expect(await redis.hmget('job:synchronous', 'status', 'error_message')).toEqual([
        'failed',
        'The runner failed: Cannot read it.',
      ]);
      expect(await redis.hget('job:odd', 'status')).toBe('failed');
      expect(await redis.hget('job:good', 'error_message')).toBe('Enough.');
      expect(await redis.get('runner:user:ada:running')).toBe('0');
    });

    it('finds the job that Redis started for it with an answer that was lost', async () => {
      // An entry that nobody touches is taken over only after this time, which is longer than this test waits.
      const claimIdleMs = 300_000;
      const { redis, store } = await startStage(claimIdleMs);
      let isCut = false;
      consume({
        store: {
          ...store,
          async finish(...values) {
            const finished = await store.finish(...values);
            if (isCut) return finished;
            isCut = true;
            throw new Error('The connection was cut.');
          },
        },
        work: async () => ({ status: 'failed', message: 'Done.' }),
        claimIdleMs,
      });
      for (const id of ['one', 'two']) await produce(redis, { id });
      await expect.poll(() => redis.hget('job:two', 'error_message')).toBe('Done.');
      expect(isCut).toBe(true);
    });

    it('finds entries at once that a full worker read just before this one waited', async () => {
      const { redis, store: full, open } = await startStage();
      const idle = await open('idle');
      let isFirst = true;
      const started: string[] = [];
      const elsewhere: string[] = [];
      consume({
        store: {
          ...idle,
          async nextEntry(signal) {
            if (isFirst) {
              isFirst = false;
              for (const id of ['one', 'two', 'three']) await produce(redis, { id });
              elsewhere.push(...(await full.start(1)).started.map(({ job }) => job.id));
            }
            // Nothing announces these entries any more.
            return new Promise((resolve) => {
              signal.addEventListener('abort', () => resolve(null), { once: true });
            });
          },
        },
        async work({ id }) {
          started.push(id);
          return { status: 'failed', message: 'Enough.' };
        },
        concurrency: 5,
      });
      const all = () => [...started, ...elsewhere].toSorted();
      await expect.poll(all).toEqual(['one', 'three', 'two']);
    });
  },
);
