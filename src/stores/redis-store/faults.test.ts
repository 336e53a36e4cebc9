/** What the Redis store does when Redis, its data or a worker are not as they should be. */

import { copyFileSync } from 'node:fs';
import path from 'node:path';
import type { Redis } from 'ioredis';
import { afterEach, describe, expect, it } from 'vitest';
import { QueueFullError, StaleLeaseError, StoreUnavailableError } from '../../errors.ts';
import type { RunEventBody } from '../../runs/run-events.ts';
import type { Claim, RunStore } from '../../runs/run-store.ts';
import { pushRequest } from '../run-store-contract.ts';
import { hasRedisServer, type RedisServer, startRedisServer } from './redis-server.fixture.ts';
import { createRedisStore, type RedisStoreOptions } from './redis-store.ts';

const FINISHED: RunEventBody = {
  type: 'run.finished',
  state: 'succeeded',
  reason: null,
  message: 'done',
  coveredBy: null,
};

const WAYS_TO_DIE: [name: string, die: (server: RedisServer) => Promise<void>][] = [
  ['kill -9', (server) => server.kill()],
  ['SHUTDOWN NOSAVE', (server) => server.shutDown()],
];

function notice(message: string): RunEventBody {
  return { type: 'run.notice', level: 'info', message };
}

describe.skipIf(!hasRedisServer())('The Redis store (needs redis-server)', () => {
  let server: RedisServer;
  const stores: RunStore[] = [];

  async function serve(...options: string[]): Promise<void> {
    server = await startRedisServer(...options);
  }
  async function open(options: Partial<RedisStoreOptions> = {}): Promise<RunStore> {
    const store = await createRedisStore({ url: server.url, ...options });
    stores.push(store);
    return store;
  }
  async function claim(store: RunStore, owner = 'w', leaseMs = 60_000): Promise<Claim> {
    const claimed = await store.claim({ owner, leaseMs });
    if (!claimed) throw new Error('Nothing to claim.');
    return claimed;
  }
  /** As soon as it is reached again. */
  async function back(store: RunStore): Promise<void> {
    await expect
      .poll(() =>
        store.check().then(
          () => true,
          () => false,
        ),
      )
      .toBe(true);
  }

  afterEach(async () => {
    await Promise.all(stores.splice(0).map((store) => store.close()));
    await server.remove();
  });

  describe('when Redis dies', () => {
    it.each(WAYS_TO_DIE)(
      'F49: %s with an append-only file keeps what was accepted, and goes on by itself',
      async (_, die) => {
        await serve('--appendonly', 'yes', '--appendfsync', 'always');
        const store = await open();
        const accepted: string[] = [];
        for (let i = 0; i < 50; i += 1) {
          accepted.push((await store.enqueue(pushRequest({ coalesce: false }))).run.id);
        }
        const { lease, run } = await claim(store);
        await die(server);
        const down = performance.now();
        await expect(store.enqueue(pushRequest())).rejects.toThrow(StoreUnavailableError);
        expect(performance.now() - down).toBeLessThan(5_000);
        await server.start();
        await back(store);
        expect((await store.runs({ limit: 100 })).map(({ id }) => id)).toEqual(accepted.toReversed());
        await store.append(lease, [FINISHED]);
        expect(await store.run(run.id)).toMatchObject({ state: 'succeeded' });
      },
    );

    it.each(WAYS_TO_DIE)(
      'F49: %s without one has lost everything, fences the workers of before, and starts anew',
      async (_, die) => {
        await serve();
        const store = await open();
        await store.enqueue(pushRequest());
        const before = await claim(store);
        await die(server);
        await server.start();
        await back(store);
        expect(await store.run(before.run.id)).toBeNull();
        await expect(store.renew(before.lease, 60_000)).rejects.toThrow(StaleLeaseError);
        await expect(store.append(before.lease, [FINISHED])).rejects.toThrow(StaleLeaseError);
        // What the branch is behind is asked for again.
        await store.enqueue(pushRequest());
        const after = await claim(store);
        expect(after.lease.token).toBeGreaterThan(before.lease.token);
      },
    );

    it('F49: restored from an older dump never takes the tokens of the lost time for its own', async () => {
      await serve();
      const store = await open();
      const { run } = await store.enqueue(pushRequest());
      await server.client().save();
      const kept = path.join(server.directory, 'kept.rdb');
      copyFileSync(path.join(server.directory, 'dump.rdb'), kept);
      const lost = await claim(store, 'w1');
      await store.append(lost.lease, [notice('of the lost time')]);
      await server.kill();
      copyFileSync(kept, path.join(server.directory, 'dump.rdb'));
      await server.start();
      await back(store);
      expect(await store.run(run.id)).toMatchObject({ state: 'queued' });
      const fresh = await claim(store, 'w2');
      expect(fresh.run.id).toBe(run.id);
      expect(fresh.lease.token).toBeGreaterThan(lost.lease.token);
      await expect(store.append(lost.lease, [FINISHED])).rejects.toThrow(StaleLeaseError);
      await store.append(fresh.lease, [FINISHED]);
      expect((await store.tally()).open).toEqual([]);
    });

    it('F49: tells at the start what it can lose', async () => {
      await serve('--maxmemory-policy', 'allkeys-lru');
      const warnings: string[] = [];
      await open({ onWarning: (message) => warnings.push(message) });
      expect(warnings).toEqual([
        expect.stringContaining('appendonly yes'),
        expect.stringContaining('noeviction'),
      ]);
      await server.client().config('SET', 'appendonly', 'yes');
      await server.client().config('SET', 'maxmemory-policy', 'noeviction');
      await open({ onWarning: (message) => warnings.push(message) });
      expect(warnings.slice(2)).toEqual([expect.stringContaining('appendfsync always')]);
    });
  });

  describe('when an answer is lost', () => {
    it('writes the events once, when they are given again', async () => {
      await serve('--appendonly', 'yes', '--appendfsync', 'always');
      const store = await open({ requestTimeoutMs: 500 });
      await store.enqueue(pushRequest());
      const { lease, run } = await claim(store);
      const events = [notice('once')];
      // Takes the command in, and answers too late.
      process.kill(server.pid(), 'SIGSTOP');
      await expect(store.append(lease, events)).rejects.toThrow(StoreUnavailableError);
      await expect(store.append(lease, events)).rejects.toThrow(StoreUnavailableError);
      process.kill(server.pid(), 'SIGCONT');
      await back(store);
      await store.append(lease, events);
      await store.append(lease, [FINISHED]);
      const stored = await store.events(run.id, { after: 0, limit: 100 });
      expect(stored.map(({ type }) => type)).toEqual([
        ...['run.queued', 'run.started', 'run.notice', 'run.finished'],
      ]);
    });

    it('works on a run whose claim was granted in the meantime', async () => {
      await serve();
      const store = await open({ requestTimeoutMs: 500 });
      const { run } = await store.enqueue(pushRequest());
      process.kill(server.pid(), 'SIGSTOP');
      await expect(store.claim({ owner: 'w', leaseMs: 60_000 })).rejects.toThrow(StoreUnavailableError);
      process.kill(server.pid(), 'SIGCONT');
      await back(store);
      const again = await claim(store);
      expect(again.run).toMatchObject({ id: run.id, attempt: 1 });
      await store.append(again.lease, [FINISHED]);
    });
  });

  it('F51: never stores a request whose time was over before Redis got to it', async () => {
    await serve();
    const store = await open({ requestTimeoutMs: 500 });
    const { run } = await store.enqueue(pushRequest({ coalesce: false }));
    const nonce = { value: 'of-a-request', expiresAt: Date.now() + 60_000 };
    const delivery = { deliveryId: 'd1', event: 'push', decision: 'ignored', detail: '' } as const;
    const admin = server.client();
    for (const request of [
      () => store.enqueue(pushRequest({ coalesce: false }), { nonce }),
      () => store.recordDelivery({ ...delivery, runId: null, request: null }),
      () => store.requestCancel(run.id, 'ada'),
    ]) {
      // Reads are answered; what may write is taken in, and done when the pause is over.
      await admin.call('CLIENT', 'PAUSE', '60000', 'WRITE');
      await expect(request()).rejects.toThrow(StoreUnavailableError);
      await admin.call('CLIENT', 'UNPAUSE');
      // Comes after it, as it takes the same way.
      await back(store);
    }
    expect(await store.runs({ limit: 10 })).toMatchObject([{ id: run.id, state: 'queued' }]);
    expect(await store.deliveries({ limit: 10 })).toEqual([]);
    expect(await store.enqueue(pushRequest(), { nonce })).toMatchObject({ created: true });
  });

  describe('F51: when Redis refuses', () => {
    it('a wrong password, or none, is said at the start', async () => {
      await serve('--requirepass', 'right');
      await expect(open()).rejects.toMatchObject({ nextAction: expect.stringContaining('password') });
      const wrong = createRedisStore({ url: server.url.replace('//', '//:SECRET@') });
      await expect(wrong).rejects.toThrow(StoreUnavailableError);
      await expect(wrong).rejects.not.toThrow('SECRET');
      await expect(wrong).rejects.toMatchObject({ nextAction: expect.stringContaining('password') });
      await expect(open({ url: server.url.replace('//', '//:right@') })).resolves.toBeTruthy();
    });

    it('a user that may touch our keys only is enough', async () => {
      await serve();
      const rules = ['on', '>pass', '~iac-runner:*', '+@all', '-@admin', '-@dangerous', '+info'];
      await server.client().call('ACL', 'SETUSER', 'runner', ...rules);
      const warnings: string[] = [];
      const url = server.url.replace('//', '//runner:pass@');
      const store = await open({ url, onWarning: (message) => warnings.push(message) });
      await store.enqueue(pushRequest());
      await store.append((await claim(store)).lease, [FINISHED]);
      await store.takeBack({ all: false, maxAttempts: 3 });
      while (await store.prune({ before: Date.now() + 1, deliveriesBefore: 0, reporters: [] }));
      expect(await store.runs({ limit: 10 })).toEqual([]);
      expect(warnings).toHaveLength(1);
      const stranger = createRedisStore({ url, prefix: 'other:', connectTimeoutMs: 1_000 });
      await expect(stranger).rejects.toMatchObject({ nextAction: expect.stringContaining('keys') });
    });

    it('an address where nobody listens is said at the start', async () => {
      await serve();
      const opening = createRedisStore({ url: 'redis://127.0.0.1:1', connectTimeoutMs: 500 });
      await expect(opening).rejects.toThrow('Redis at redis://127.0.0.1:1 does not answer');
    });

    it('out of memory stores nothing, says so, and takes more once there is room', async () => {
      await serve();
      const store = await open();
      await store.enqueue(pushRequest());
      const { lease, run } = await claim(store);
      const admin = server.client();
      await admin.config('SET', 'maxmemory', '1');
      const enqueued = store.enqueue(pushRequest());
      await expect(enqueued).rejects.toThrow(StoreUnavailableError);
      await expect(enqueued).rejects.toMatchObject({ nextAction: expect.stringContaining('maxmemory') });
      await expect(store.append(lease, [FINISHED])).rejects.toThrow(StoreUnavailableError);
      await admin.config('SET', 'maxmemory', '0');
      expect(await store.runs({ limit: 10 })).toHaveLength(1);
      await store.append(lease, [FINISHED]);
      expect(await store.run(run.id)).toMatchObject({ state: 'succeeded' });
    });

    it('a replica is refused at the start, and a primary that became one answers 503 until it is one again', async () => {
      await serve();
      const store = await open();
      const admin = server.client();
      await admin.replicaof('127.0.0.1', 1);
      await expect(open()).rejects.toThrow(StoreUnavailableError);
      await expect(store.enqueue(pushRequest())).rejects.toThrow(StoreUnavailableError);
      await admin.replicaof('NO', 'ONE');
      await back(store);
      expect(await store.enqueue(pushRequest())).toMatchObject({ created: true });
    });

    it('a stall is answered within five seconds, and is over when it is over', async () => {
      await serve('--enable-debug-command', 'yes');
      const store = await open();
      await store.check();
      const other = server.client();
      await other.ping();
      void other.call('DEBUG', 'SLEEP', '15').catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 200));
      const from = performance.now();
      await expect(store.enqueue(pushRequest())).rejects.toThrow(StoreUnavailableError);
      expect(performance.now() - from).toBeLessThan(12_000);
      await back(store);
      expect(await store.enqueue(pushRequest())).toMatchObject({ created: true });
    });

    it('forgotten scripts are sent again', async () => {
      await serve();
      const store = await open();
      await store.enqueue(pushRequest());
      await server.client().script('FLUSH');
      await store.append((await claim(store)).lease, [FINISHED]);
    });
  });

  describe('F51: when its data was tampered with', () => {
    it.each([
      'held',
      'leases',
      'runs:open:sync:queued',
      'runs',
      'dedupe',
      'queue:sync:main',
      'changes',
      'groups',
    ])('a %s of another type stops the write as a whole', async (name) => {
      await serve('--enable-debug-command', 'yes');
      const store = await open();
      const first = await store.enqueue(pushRequest({ dedupeKey: 'a' }));
      const admin = server.client();
      const key = `iac-runner:${name}`;
      const kept = (await admin.dumpBuffer(key)) ?? Buffer.alloc(0);
      await admin.set(key, 'x');
      const contents = await contentsOf();
      const outcomes = await Promise.allSettled([
        store.enqueue(pushRequest({ dedupeKey: 'b' })),
        store.claim({ owner: 'w', leaseMs: 1_000 }),
      ]);
      const failures = outcomes.filter(({ status }) => status === 'rejected');
      expect(failures.length).toBeGreaterThan(0);
      for (const { reason } of failures as PromiseRejectedResult[]) {
        expect(reason).toBeInstanceOf(StoreUnavailableError);
      }
      if (failures.length === 2) expect(await contentsOf()).toEqual(contents);
      await admin.del(key);
      if (kept.length > 0) await admin.restore(key, 0, kept);
      const claimed = await store.claim({ owner: 'w', leaseMs: 1_000 });
      if (claimed) await store.append(claimed.lease, [FINISHED]);
      expect(await store.run(first.run.id)).not.toBeNull();

      async function contentsOf(): Promise<string[]> {
        // Numbers are given out before, and may have gaps.
        const names = (await admin.keys('*')).filter((found) => !found.endsWith(':numbers')).sort();
        return Promise.all(
          names.map(async (found) => `${found} ${await admin.call('DEBUG', 'DIGEST-VALUE', found)}`),
        );
      }
    });

    it.each<[name: string, fault: (admin: Redis, key: string) => Promise<unknown>]>([
      ['DEL', (admin, key) => admin.del(key)],
      ['XTRIM MAXLEN 0', (admin, key) => admin.xtrim(key, 'MAXLEN', 0)],
    ])('%s of its streams loses what stood in them, and no more', async (_, fault) => {
      await serve();
      const [store, other] = [await open(), await open()];
      const told: string[] = [];
      other.watch((runId) => told.push(runId));
      await store.enqueue(pushRequest());
      const { lease, run } = await claim(store);
      await store.append(lease, [notice('before')]);
      await expect.poll(() => told).toHaveLength(3);
      const admin = server.client();
      for (const name of [`events:${run.id}`, 'changes']) await fault(admin, `iac-runner:${name}`);
      expect(await store.events(run.id, { after: 0, limit: 100 })).toEqual([]);
      await store.append(lease, [notice('after')]);
      await store.append(lease, [FINISHED]);
      const left = await other.events(run.id, { after: 0, limit: 100 });
      expect(left.map(({ seq, type }) => [seq, type])).toEqual([
        [4, 'run.notice'],
        [5, 'run.finished'],
      ]);
      expect(await other.run(run.id)).toMatchObject({ state: 'succeeded' });
      await expect.poll(() => told).toHaveLength(5);
    });

    it('SET in place of a run’s stream stops its writes, until it is gone again', async () => {
      await serve();
      const store = await open();
      await store.enqueue(pushRequest());
      const { lease, run } = await claim(store);
      const admin = server.client();
      const key = `iac-runner:events:${run.id}`;
      await admin.set(key, 'x');
      const events = [notice('once')];
      await expect(store.append(lease, events)).rejects.toThrow(StoreUnavailableError);
      await expect(store.events(run.id, { after: 0, limit: 9 })).rejects.toThrow(StoreUnavailableError);
      await store.renew(lease, 60_000);
      await admin.del(key);
      await store.append(lease, events);
      await store.append(lease, [FINISHED]);
      expect(await store.run(run.id)).toMatchObject({ state: 'succeeded' });
    });

    it('goes on after FLUSHALL, and fences who worked before', async () => {
      await serve();
      const store = await open();
      await store.enqueue(pushRequest());
      const { lease } = await claim(store);
      await server.client().flushall();
      await expect(store.append(lease, [notice('late')])).rejects.toThrow(StaleLeaseError);
      await expect(store.renew(lease, 1_000)).rejects.toThrow(StaleLeaseError);
      expect(await store.takeBack({ all: false, maxAttempts: 3 })).toEqual([]);
      await store.enqueue(pushRequest());
      await store.append((await claim(store)).lease, [FINISHED]);
    });

    it.each(['run', 'queue', 'held', 'leases', 'groups'])(
      'the deletion of %s keys holds no group up for ever',
      async (name) => {
        await serve();
        const store = await open();
        await store.enqueue(pushRequest());
        await claim(store);
        await store.enqueue(pushRequest());
        const admin = server.client();
        const found = await admin.keys(`iac-runner:${name}*`);
        const victims = found.filter((key) => !/^iac-runner:runs/.test(key));
        expect(victims.length).toBeGreaterThan(0);
        await admin.del(...victims);
        await store.takeBack({ all: false, maxAttempts: 3 });
        // Whatever is left of them, a new push is worked on.
        await store.enqueue(pushRequest());
        for (let rounds = 0; rounds < 5; rounds += 1) {
          await store.takeBack({ all: true, maxAttempts: 1 });
          const claimed = await store.claim({ owner: 'w', leaseMs: 60_000 });
          if (claimed) await store.append(claimed.lease, [FINISHED]);
        }
        const left = await store.runs({ state: 'queued', limit: 10 });
        expect([...left, ...(await store.runs({ state: 'running', limit: 10 }))]).toEqual([]);
        expect(await admin.hlen('iac-runner:held')).toBe(0);
      },
    );
  });

  describe('a worker', () => {
    it('F50: that was paused beyond its lease is fenced, and exactly one end is stored', async () => {
      await serve();
      const [paused, other] = [await open(), await open()];
      await paused.enqueue(pushRequest());
      const stale = await claim(paused, 'paused', 4_000);
      expect(await other.takeBack({ all: false, maxAttempts: 3 })).toEqual([]);
      await expect
        .poll(() => other.takeBack({ all: false, maxAttempts: 3 }), { interval: 200 })
        .toEqual([stale.run.id]);
      const fresh = await claim(other, 'other');
      await expect(paused.append(stale.lease, [FINISHED])).rejects.toThrow(StaleLeaseError);
      await expect(paused.renew(stale.lease, 1_000)).rejects.toThrow(StaleLeaseError);
      await other.append(fresh.lease, [FINISHED]);
      const events = await other.events(stale.run.id, { after: 0, limit: 100 });
      expect(events.filter(({ type }) => type === 'run.finished')).toHaveLength(1);
    });

    it('F50: that renews is left alone, however long its run takes', async () => {
      await serve();
      const [working, other] = [await open(), await open()];
      await working.enqueue(pushRequest());
      const { lease } = await claim(working, 'working', 5_000);
      for (let i = 0; i < 4; i += 1) {
        await new Promise((resolve) => setTimeout(resolve, 1_500));
        await working.renew(lease, 5_000);
        expect(await other.takeBack({ all: false, maxAttempts: 3 })).toEqual([]);
      }
      await working.append(lease, [FINISHED]);
    });

    it('that starts again takes back its own runs only', async () => {
      await serve();
      const store = await open();
      const requests = ['a', 'b', 'c'].map((group) => pushRequest({ concurrencyGroup: group }));
      for (const request of requests) await store.enqueue(request);
      const mine = await claim(store, 'machine-1:17');
      await claim(store, 'machine-10:17');
      await claim(store, 'machine-2:17');
      const options = { all: false, owner: 'machine-1', maxAttempts: 3 };
      expect(await store.takeBack(options)).toEqual([mine.run.id]);
    });
  });

  describe('from several processes', () => {
    it('tells watchers of the changes of others, also after Redis was away', async () => {
      await serve('--appendonly', 'yes');
      const [one, other] = [await open(), await open()];
      const seen: string[] = [];
      one.watch((runId) => seen.push(runId));
      const first = await other.enqueue(pushRequest());
      await expect.poll(() => seen).toEqual([first.run.id]);
      await server.kill();
      await server.start();
      await back(other);
      const second = await other.enqueue(pushRequest());
      await expect.poll(() => seen).toEqual([first.run.id, second.run.id]);
    });

    it('claims each run once, one of a group at a time, whatever else goes on', async () => {
      await serve();
      const workers = await Promise.all(Array.from({ length: 4 }, () => open()));
      const [first] = workers;
      if (!first) throw new Error('No store.');
      const total = 120;
      await Promise.all(
        Array.from({ length: total }, (_, i) =>
          workers[i % 4]?.enqueue(pushRequest({ coalesce: false, concurrencyGroup: `g${i % 6}` })),
        ),
      );
      const held = new Set<string>();
      const done: string[] = [];
      async function work(store: RunStore, owner: string): Promise<void> {
        while (done.length < total) {
          const claimed = await store.claim({ owner, leaseMs: 60_000 });
          if (!claimed) {
            await new Promise((resolve) => setTimeout(resolve, 5));
            continue;
          }
          const { run, lease } = claimed;
          expect(held.has(run.concurrencyGroup)).toBe(false);
          held.add(run.concurrencyGroup);
          await store.append(lease, [notice('x')]);
          await store.renew(lease, 60_000);
          held.delete(run.concurrencyGroup);
          await store.append(lease, [FINISHED]);
          done.push(run.id);
        }
      }
      await Promise.all(workers.flatMap((store, i) => [work(store, `w${i}a`), work(store, `w${i}b`)]));
      expect(new Set(done).size).toBe(total);
      expect((await first.tally()).open).toEqual([]);
      expect(await server.client().zcard('iac-runner:waiting')).toBe(0);
      expect(await server.client().hlen('iac-runner:held')).toBe(0);
      expect(await server.client().zcard('iac-runner:leases')).toBe(0);
    });

    it('keeps to the limit of the queue', async () => {
      await serve();
      const stores = [await open({ queueLimit: 10 }), await open({ queueLimit: 10 })];
      const requests = Array.from({ length: 40 }, (_, i) => stores[i % 2]?.enqueue(pushRequest()));
      const outcomes = await Promise.allSettled(requests);
      expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(10);
      const refused = outcomes.find((outcome) => outcome.status === 'rejected');
      expect(refused?.reason).toBeInstanceOf(QueueFullError);
    });
  });
});
