import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { openJobReader } from './job-reader.ts';
import { openJobStore } from './job-store.ts';
import { produce } from './jobs.fixture.ts';
import { hasRedisServer, type RedisServer, startRedisServer } from './redis-server.fixture.ts';

const missing = !hasRedisServer();

describe.skipIf(missing)(
  `The queue of jobs${missing ? ' (skipped: redis-server is not installed)' : ''}`,
  () => {
    let server: RedisServer;
    let redis: Redis;

    beforeAll(async () => {
      server = await startRedisServer();
      redis = server.client();
    });
    afterAll(() => server.remove());
    beforeEach(() => redis.flushall());

    function openReader() {
      const reader = openJobReader(server.url);
      onTestFinished(() => reader.close());
      return reader;
    }

    it('is empty if there is no stream', async () => {
      expect(await openReader().queue()).toEqual({ depth: 0, running: 0, oldestWaitingMs: null });
    });

    it('counts waiting and running jobs, and returns the age of the oldest waiting one', async () => {
      const store = await openJobStore({
        url: server.url,
        runnerId: 'one',
        instance: randomUUID(),
        jobsPerUser: 3,
        claimIdleMs: 60_000,
        maxAttempts: 3,
      });
      onTestFinished(() => store.close());
      await store.ensureGroup();
      const reader = openReader();
      // There are more running jobs than one step looks at.
      const ids = Array.from({ length: 12 }, (_, index) => `job-${index}`);
      for (const id of ids) await produce(redis, { id, userId: id });
      expect((await store.start(12)).started).toHaveLength(12);
      expect(await reader.queue()).toEqual({ depth: 12, running: 12, oldestWaitingMs: null });
      const { entry } = await produce(redis, { id: 'waits' });
      /** The age by the clock of Redis, which also numbers the entries. */
      const ageMs = async (): Promise<number> => {
        const [seconds, microseconds] = await redis.time();
        return (
          Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000) - Number.parseInt(entry, 10)
        );
      };
      await expect.poll(ageMs).toBeGreaterThanOrEqual(300);
      await produce(redis, { id: 'waits-too' });
      const atLeastMs = await ageMs();
      const { depth, running, oldestWaitingMs } = await reader.queue();
      const atMostMs = await ageMs();
      expect([depth, running]).toEqual([14, 12]);
      expect(oldestWaitingMs).toBeGreaterThanOrEqual(atLeastMs);
      expect(oldestWaitingMs).toBeLessThanOrEqual(atMostMs);
    });

    it('is refused if the stream has another type', async () => {
      await redis.set('jobs:stream', 'x');
      await expect(openReader().queue()).rejects.toThrow(/WRONGTYPE/);
    });
  },
);
