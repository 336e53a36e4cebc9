/**
 * Measures jobs from Redis: the cost of the promises against a bare consumer, the time until a job starts, and the gain
 * from more workers.
 */

import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { Redis } from 'ioredis';
import { PROJECT_ROOT } from '../e2e/support/project-root.ts';
import { until } from '../e2e/support/until.ts';
import { produce } from '../src/jobs/store/jobs.fixture.ts';
import { type RedisServer, startRedisServer } from '../src/jobs/store/redis-server.fixture.ts';
import type { Bench, Row } from './bench.ts';
import { startTrivialConsumer } from './support/job-consumer.ts';
import { median, percentile, perSecond, spread, times } from './support/statistics.ts';

const JOBS = 5_000;
const USERS = 50;
const ROUNDS = 5;
const PACED = 1_000;
const PACE_MS = 4;
const SLOW_JOBS = 2_000;
const SLOW_MS = 20;
const CONSUMER = join(PROJECT_ROOT, 'bench/support/job-consumer.ts');

export const jobs: Bench = {
  name: 'Jobs from Redis',
  method: `${JOBS.toLocaleString('en-US')} jobs of ${USERS} users are in \`jobs:stream\` of a redis-server on this machine. They do nothing, unless a row says otherwise. The bare consumer is a loop of \`XREADGROUP\` and \`XACK\` with the same client. It knows no users, limits, leases, hashes or fences. With one at a time, it reads and acknowledges one entry after the other. With ten at a time, it reads ten entries with one command, and sends ten acknowledgements at once. The latency is the time from before \`XADD\` to the start of the work, with a job every ${PACE_MS} ms and one idle worker. With several workers, each is a process of ten places, and each job waits for ${SLOW_MS} ms. The workers, this bench and Redis share the machine.`,
  async run() {
    const server = await startRedisServer();
    const redis = server.client();
    try {
      return [
        await compare(server, redis, 1),
        await compare(server, redis, 10),
        await latency(server, redis),
        ...(await growth(server, redis)),
      ];
    } finally {
      await server.remove();
    }
  },
};

async function empty(redis: Redis): Promise<void> {
  await redis.flushall();
  await redis.xgroup('CREATE', 'jobs:stream', 'jobs:stream:runners', '0', 'MKSTREAM');
}

async function fill(redis: Redis, count: number): Promise<void> {
  const all = Array.from({ length: count }, (_, index) =>
    produce(redis, { id: randomUUID(), userId: `user-${index % USERS}` }),
  );
  await Promise.all(all);
}

async function compare(server: RedisServer, redis: Redis, atOnce: number): Promise<Row> {
  const ours: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await empty(redis);
    await fill(redis, JOBS);
    bare.push(await rate(JOBS, () => consumeBarely(server, atOnce)));
    await empty(redis);
    await fill(redis, JOBS);
    const consumer = Promise.withResolvers<void>();
    let startedJobs = 0;
    const worker = () =>
      startTrivialConsumer({
        url: server.url,
        name: 'bench',
        concurrency: atOnce,
        onStarted: () => {
          startedJobs += 1;
          if (startedJobs === JOBS) consumer.resolve();
        },
      });
    let started: Awaited<ReturnType<typeof worker>> | null = null;
    ours.push(
      await rate(JOBS, async () => {
        started = await worker();
        await consumer.promise;
      }),
    );
    await (started as Awaited<ReturnType<typeof worker>> | null)?.stop();
  }
  const ratio = median(ours) / median(bare);
  const isAim = atOnce === 1;
  return {
    measured: `Jobs, ${atOnce === 1 ? 'one' : 'ten'} at a time`,
    ours: spread(ours, perSecond),
    bound: `bare consumer: ${spread(bare, perSecond)}`,
    ratio: times(ratio),
    ...(isAim && { aim: '≥ 0.50×', met: ratio >= 0.5 }),
  };
}

async function rate(count: number, action: () => Promise<void>): Promise<number> {
  const startedAt = performance.now();
  await action();
  return count / ((performance.now() - startedAt) / 1_000);
}

async function consumeBarely(server: RedisServer, atOnce: number): Promise<void> {
  const redis = new Redis(server.port, '127.0.0.1', { protocol: 2 });
  const [stream, group] = ['jobs:stream', 'jobs:stream:runners'];
  for (let done = 0; done < JOBS; ) {
    const words = ['GROUP', group, 'bare', 'COUNT', atOnce, 'BLOCK', 5_000, 'STREAMS', stream, '>'];
    const reply = (await redis.call('XREADGROUP', ...words)) as [string, [string, string[]][]][];
    const entries = reply[0]?.[1] ?? [];
    await Promise.all(entries.map(([id]) => redis.xack(stream, group, id)));
    done += entries.length;
  }
  redis.disconnect();
}

async function latency(server: RedisServer, redis: Redis): Promise<Row> {
  await redis.flushall();
  const startedAt = new Map<string, number>();
  const onStarted = (id: string) => void startedAt.set(id, performance.now());
  const consumer = await startTrivialConsumer({ url: server.url, name: 'bench', concurrency: 10, onStarted });
  const producedAt = new Map<string, number>();
  for (let index = 0; index < PACED; index += 1) {
    const id = randomUUID();
    producedAt.set(id, performance.now());
    await produce(redis, { id, userId: `user-${index % USERS}` });
    await sleep(PACE_MS);
  }
  await until('the start of all jobs', () => (startedAt.size === PACED ? true : null));
  await consumer.stop();
  const took = [...producedAt].map(([id, at]) => (startedAt.get(id) ?? Number.NaN) - at);
  const show = (value: number) => `${value.toFixed(1)} ms`;
  return {
    measured: 'From XADD to the start of the work, p50 / p99',
    ours: `${show(percentile(took, 0.5))} / ${show(percentile(took, 0.99))}`,
  };
}

async function growth(server: RedisServer, redis: Redis): Promise<Row[]> {
  const rows: Row[] = [];
  let one = 0;
  for (const count of [1, 2, 4]) {
    const rates: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      await empty(redis);
      const workers = await Promise.all(
        Array.from({ length: count }, (_, index) => startWorker(server.url, `worker-${index}`)),
      );
      rates.push(
        await rate(SLOW_JOBS, async () => {
          await fill(redis, SLOW_JOBS);
          await untilDone(redis);
        }),
      );
      await Promise.all(workers.map((stop) => stop()));
    }
    if (count === 1) one = median(rates);
    rows.push({
      measured: `Jobs of ${SLOW_MS} ms, ${count} worker${count === 1 ? '' : 's'} of ten places`,
      ours: spread(rates, perSecond),
      ...(count > 1 && { bound: 'one worker', ratio: times(median(rates) / one) }),
    });
  }
  return rows;
}

async function untilDone(redis: Redis): Promise<void> {
  while ((await redis.xlen('jobs:stream')) > 0) await sleep(5);
}

async function startWorker(url: string, name: string): Promise<() => Promise<void>> {
  const child = execa(process.execPath, [CONSUMER, url, name, '10', `${SLOW_MS}`], {
    reject: false,
    stdin: 'ignore',
  });
  await new Promise<void>((resolve) => child.stdout?.once('data', () => resolve()));
  return async () => {
    child.kill('SIGTERM');
    await child;
  };
}
