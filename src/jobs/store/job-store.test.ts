import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type JobStore, type JobStoreOptions, openJobStore, type StartedJob } from './job-store.ts';
import { addEntry, type JobFields, produce } from './jobs.fixture.ts';
import { hasRedisServer, type RedisServer, startRedisServer } from './redis-server.fixture.ts';

const missing = !hasRedisServer();
const NEVER = new AbortController().signal;

describe.skipIf(missing)(`jobs in Redis${missing ? ' (skipped: redis-server is not installed)' : ''}`, () => {
  let server: RedisServer;
  let redis: Redis;
  let stores: JobStore[] = [];

  beforeAll(async () => {
    server = await startRedisServer();
    redis = server.client();
  });
  afterAll(() => server.remove());
  beforeEach(() => redis.flushall());
  afterEach(async () => {
    await Promise.all(stores.map((store) => store.close()));
    stores = [];
  });

  async function open(runnerId = 'runner-1', options: Partial<JobStoreOptions> = {}): Promise<JobStore> {
    const store = await openJobStore({
      url: server.url,
      runnerId,
      instance: randomUUID(),
      jobsPerUser: 3,
      claimIdleMs: 60_000,
      maxAttempts: 3,
      ...options,
    });
    stores.push(store);
    await store.ensureGroup();
    return store;
  }

  const running = (user: string) => redis.get(`runner:user:${user}:running`);
  const ids = (started: StartedJob[]) => started.map(({ job }) => job.id);
  const success = { status: 'success', fields: { branch: 'b', lines_added: '1' } };

  async function produceMany(count: number, fields: JobFields = {}) {
    const made: string[] = [];
    for (let index = 0; index < count; index += 1) made.push((await produce(redis, fields)).id);
    return made;
  }

  /** Acts as if nobody had given a sign of life for an hour. */
  async function letTimePass(): Promise<void> {
    for (const job of await redis.zrange('runner:leases', '0', '-1'))
      await redis.zadd('runner:leases', '1', job);
    for (const key of await redis.keys('runner:user:*:holders')) {
      for (const job of await redis.zrange(key, '0', '-1')) await redis.zadd(key, '1', job);
    }
    const group = ['jobs:stream', 'jobs:stream:runners'] as const;
    const pending = (await redis.xpending(...group, '-', '+', 1_000)) as [entry: string, consumer: string][];
    for (const [entry, consumer] of pending) {
      await redis.xclaim(...group, consumer, 0, entry, 'IDLE', 3_600_000, 'JUSTID');
    }
  }

  function only(started: StartedJob[]): StartedJob {
    const [first, ...others] = started;
    if (!first || others.length > 0) throw new Error(`${started.length} jobs were started.`);
    return first;
  }

  it('starts a job and ends it: hash, counter, entry', async () => {
    const store = await open();
    const { id } = await produce(redis, { prompt: 'Add a line', branch: 'develop' });
    const { job, lease } = only((await store.start(5)).started);
    expect(job).toEqual({
      id,
      userId: 'ada',
      providerId: 'p1',
      repositoryUrl: 'https://github.com/acme/app.git',
      branch: 'develop',
      prompt: 'Add a line',
      environment: 'default',
      attempt: 1,
    });
    const before = await redis.hgetall(`job:${id}`);
    expect(before).toMatchObject({ status: 'running', started_at: expect.stringMatching(/^\d{13}$/) });
    expect(await running('ada')).toBe('1');
    expect((await store.finish(lease, success, 0)).status).toBe('success');
    expect(await redis.hgetall(`job:${id}`)).toMatchObject({
      status: 'success',
      branch: 'b',
      lines_added: '1',
      finished_at: expect.stringMatching(/^\d{13}$/),
    });
    expect(await running('ada')).toBe('0');
    expect(await redis.xlen('jobs:stream')).toBe(0);
    expect(await redis.xpending('jobs:stream', 'jobs:stream:runners')).toEqual([0, null, null, null]);
    expect(await redis.keys('runner:*')).toEqual(['runner:user:ada:running']);
  });

  it('returns an entry that arrives while it waits', async () => {
    const store = await open();
    const waited = store.nextEntry(NEVER);
    const { id, entry } = await produce(redis);
    expect(await waited).toBe(entry);
    expect(ids((await store.start(1, [entry])).started)).toEqual([id]);
  });

  it('starts no more jobs of a user than the limit, and jobs of others meanwhile', async () => {
    const store = await open();
    const ada = await produceMany(20);
    const [bob = ''] = await produceMany(1, { userId: 'bob' });
    const { started } = await store.start(10);
    expect(ids(started)).toEqual([ada[0], bob, ...ada.slice(1, 3)]);
    expect([await running('ada'), await running('bob')]).toEqual(['3', '1']);
    expect((await store.start(10)).started).toEqual([]);
    const [first] = started;
    if (!first) throw new Error('None.');
    // The oldest waiting job takes the place at once.
    expect(ids((await store.finish(first.lease, success, 1)).started)).toEqual([ada[3]]);
    expect(await running('ada')).toBe('3');
  });

  it('lets users take turns, so that the many jobs of one user hold up nobody', async () => {
    const store = await open('runner-1', { jobsPerUser: 100 });
    await produceMany(30, { userId: 'ada' });
    await produceMany(3, { userId: 'bob' });
    await produceMany(3, { userId: 'cy' });
    const users: string[] = [];
    for (let round = 0; round < 25; round += 1) {
      const { job, lease } = only((await store.start(1)).started);
      users.push(job.userId);
      await store.finish(lease, success, 0);
    }
    expect(users.filter((user) => user === 'bob')).toHaveLength(3);
    expect(users.filter((user) => user === 'cy')).toHaveLength(3);
  });

  it('lets a user with one job wait for only a few of the thousand jobs before it', async () => {
    const store = await open('runner-1', { jobsPerUser: 100 });
    await Promise.all(Array.from({ length: 1_000 }, () => produce(redis, { userId: 'ada' })));
    await produce(redis, { userId: 'bob' });
    const users: string[] = [];
    while (!users.includes('bob')) {
      const { job, lease } = only((await store.start(1)).started);
      users.push(job.userId);
      await store.finish(lease, success, 0);
    }
    expect(users.length).toBeLessThan(8);
  });

  it('stores a separate end for each of several jobs that end at the same moment, and starts as many in their place', async () => {
    const store = await open('runner-1', { jobsPerUser: 20 });
    const made = await produceMany(30);
    const { started } = await store.start(12);
    const ends = await Promise.all([
      ...started.map(({ lease }, index) =>
        store.finish(
          lease,
          index % 2 === 0
            ? success
            : { status: 'failed', fields: { error_message: `Number ${index}`, lines_added: '0' } },
          1,
        ),
      ),
      store.finish({ jobId: made[0] ?? '', entry: '1-1', token: 'another' }, success, 1),
    ]);
    expect(ends.map(({ status }) => status)).toEqual([
      ...started.map((_, index) => (index % 2 === 0 ? 'success' : 'failed')),
      null,
    ]);
    expect(ids(ends.flatMap((end) => end.started)).toSorted()).toEqual(made.slice(12, 25).toSorted());
    expect(await redis.hmget(`job:${started[3]?.job.id}`, 'error_message', 'branch')).toEqual([
      'Number 3',
      '',
    ]);
    expect(await redis.hmget(`job:${started[4]?.job.id}`, 'error_message', 'branch')).toEqual([null, 'b']);
    expect(await running('ada')).toBe('13');
    expect(await redis.xlen('jobs:stream')).toBe(18);
    expect(await redis.zcard('runner:leases')).toBe(13);
  });

  it('ends none of several jobs at the same moment while Redis refuses to write, and all of them afterwards', async () => {
    const store = await open();
    await produceMany(3);
    const { started } = await store.start(3);
    const endAll = () => Promise.allSettled(started.map(({ lease }) => store.finish(lease, success, 0)));
    await redis.config('SET', 'maxmemory', '1');
    const refused = await endAll();
    await redis.config('SET', 'maxmemory', '0');
    expect(refused.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect([await running('ada'), await redis.xlen('jobs:stream')]).toEqual(['3', 3]);
    expect(await endAll()).toEqual(
      started.map(() => expect.objectContaining({ value: expect.objectContaining({ status: 'success' }) })),
    );
    expect([await running('ada'), await redis.xlen('jobs:stream')]).toEqual(['0', 0]);
  });

  it('starts a job once even if one step reads it twice', async () => {
    const store = await open();
    const { id } = await produce(redis);
    await addEntry(redis, { job_id: id, user_id: 'ada', provider_id: 'p1', repo_url: 'x', prompt: 'x' });
    expect(ids((await store.start(5)).started)).toEqual([id]);
    expect(await running('ada')).toBe('1');
  });

  it('keeps the limit over any number of runners, at every moment', async () => {
    const all = await Promise.all(['a', 'b', 'c', 'd'].map((name) => open(name)));
    await produceMany(40);
    const watcher = server.client();
    const seen: number[] = [];
    let over = false;
    const watching = (async () => {
      while (!over) seen.push(Number((await watcher.get('runner:user:ada:running')) ?? 0));
    })();
    let ended = 0;
    await Promise.all(
      all.map(async (store) => {
        let jobs = (await store.start(10)).started;
        for (let idle = 0; ended < 40 && idle < 2_000; idle += 1) {
          const next: StartedJob[] = [];
          for (const { lease } of jobs) {
            next.push(...(await store.finish(lease, success, 1)).started);
            ended += 1;
          }
          jobs = [...next, ...(await store.start(2)).started];
        }
      }),
    );
    over = true;
    await watching;
    expect(ended).toBe(40);
    expect(Math.max(...seen)).toBe(3);
    expect(await running('ada')).toBe('0');
  });

  it('F50: gives the job of a dead runner to another, and ignores what the first one writes later', async () => {
    const dead = await open('dead');
    const alive = await open('alive');
    const { id } = await produce(redis);
    const first = only((await dead.start(1)).started);
    expect((await alive.start(1)).started).toEqual([]);
    await letTimePass();
    await alive.claimIdle('0-0');
    const second = only((await alive.start(1)).started);
    expect(second.job).toMatchObject({ id, attempt: 2 });
    expect(await dead.renew([first.lease])).toEqual(['lost']);
    expect(await dead.appendOutput(first.lease, [{ at: 1, stream: 'stdout', line: 'late' }])).toBe(false);
    expect((await dead.finish(first.lease, { status: 'failed', fields: {} }, 0)).status).toBeNull();
    expect(await redis.hget(`job:${id}`, 'status')).toBe('running');
    expect(await running('ada')).toBe('1');
    expect((await alive.finish(second.lease, success, 0)).status).toBe('success');
    expect(await running('ada')).toBe('0');
    expect(await redis.xlen('jobs:stream')).toBe(0);
  });

  it('F50: ignores what a runner writes after its lease, even if nobody has started the job again', async () => {
    const paused = await open('paused');
    const { id } = await produce(redis);
    const { lease } = only((await paused.start(1)).started);
    await letTimePass();
    expect(await paused.renew([lease])).toEqual(['lost']);
    expect(await paused.appendOutput(lease, [{ at: 1, stream: 'stdout', line: 'late' }])).toBe(false);
    expect((await paused.finish(lease, { status: 'failed', fields: {} }, 0)).status).toBeNull();
    expect(await redis.hget(`job:${id}`, 'status')).toBe('running');
    const second = only((await (await open('other')).start(1)).started);
    expect(second.job).toMatchObject({ id, attempt: 2 });
  });

  it('F50: a job whose runner renews it is never given to another', async () => {
    const busy = await open('busy');
    const other = await open('other');
    const { id } = await produce(redis);
    const { lease } = only((await busy.start(1)).started);
    for (let beat = 0; beat < 3; beat += 1) {
      await letTimePass();
      // The entry has been idle for long, but the lease has not ended yet.
      const soon = Date.now() + 10_000;
      await redis.zadd('runner:leases', String(soon), id);
      expect(await busy.renew([lease])).toEqual(['running']);
      expect(Number(await redis.zscore('runner:leases', id))).toBeGreaterThan(soon);
      await other.claimIdle('0-0');
      expect((await other.start(1)).started).toEqual([]);
    }
  });

  it('F51: finds an entry whose runner died between reading and starting it', async () => {
    const dead = await open('dead');
    const { id } = await produce(redis);
    expect(await dead.nextEntry(NEVER)).not.toBeNull();
    const alive = await open('alive');
    await letTimePass();
    let cursor = '0-0';
    do ({ cursor } = await alive.claimIdle(cursor));
    while (cursor !== '0-0');
    expect(ids((await alive.start(1)).started)).toEqual([id]);
  });

  it('F50: finds all entries of a dead runner, however many there are', async () => {
    await open('dead');
    const made = await produceMany(150, { userId: 'ada' });
    // The runner has read these entries and done nothing with them.
    await redis.xreadgroup(
      ...(['GROUP', 'jobs:stream:runners', 'dead', 'COUNT', 500, 'STREAMS', 'jobs:stream', '>'] as const),
    );
    await letTimePass();
    const alive = await open('alive', { jobsPerUser: 500 });
    let looks = 0;
    let cursor = '0-0';
    do {
      ({ cursor } = await alive.claimIdle(cursor));
      looks += 1;
    } while (cursor !== '0-0');
    expect(looks).toBeGreaterThan(1);
    expect(ids((await alive.start(500)).started)).toEqual(made);
  });

  it('F51: creates the group again from its first entry', async () => {
    const store = await open();
    await redis.del('jobs:stream');
    await expect(store.start(1)).rejects.toThrow(/NOGROUP/);
    const { id } = await produce(redis);
    await store.ensureGroup();
    expect(ids((await store.start(1)).started)).toEqual([id]);
  });

  it('F51: ends a running job whose entry was trimmed, or starts it again if its runner is dead', async () => {
    const store = await open('runner-1');
    const { id } = await produce(redis);
    const { lease } = only((await store.start(1)).started);
    await redis.xtrim('jobs:stream', 'MAXLEN', 0);
    expect(await store.renew([lease])).toEqual(['running']);
    expect((await store.finish(lease, success, 0)).status).toBe('success');
    const other = await produce(redis);
    only((await store.start(1)).started);
    await redis.xtrim('jobs:stream', 'MAXLEN', 0);
    await letTimePass();
    expect(ids((await store.start(1)).started)).toEqual([other.id]);
    expect(id).not.toBe(other.id);
    expect(await running('ada')).toBe('1');
  });

  it('F51: says what is wrong if the stream has another type, and goes on when it is a stream again', async () => {
    const store = await open();
    await redis.del('jobs:stream');
    await redis.set('jobs:stream', 'x');
    await expect(store.start(1)).rejects.toThrow(/WRONGTYPE/);
    await redis.del('jobs:stream');
    await store.ensureGroup();
    const { id } = await produce(redis);
    expect(ids((await store.start(1)).started)).toEqual([id]);
  });

  it('reports a cancelled job and a deleted one, and leaves their status alone', async () => {
    const store = await open();
    const [cancelled = '', deleted = ''] = await produceMany(2);
    const { started } = await store.start(2);
    await redis.hset(`job:${cancelled}`, 'status', 'cancelled');
    await redis.del(`job:${deleted}`);
    const leases = started.map(({ lease }) => lease);
    expect(await store.renew(leases)).toEqual(['cancelled', 'deleted']);
    for (const lease of leases) await store.finish(lease, { status: 'cancelled', fields: {} }, 0);
    expect(await redis.hget(`job:${cancelled}`, 'status')).toBe('cancelled');
    expect(await redis.exists(`job:${deleted}`)).toBe(0);
    expect(await redis.xlen('jobs:stream')).toBe(0);
    expect(await running('ada')).toBe('0');
  });

  it('never starts a job that has ended, however often the stream holds it', async () => {
    const store = await open();
    const { id } = await produce(redis);
    const { lease } = only((await store.start(1)).started);
    await addEntry(redis, { job_id: id, user_id: 'ada', provider_id: 'p1', repo_url: 'x', prompt: 'x' });
    expect((await store.start(1)).started).toEqual([]);
    await store.finish(lease, success, 0);
    await addEntry(redis, { job_id: id, user_id: 'ada', provider_id: 'p1', repo_url: 'x', prompt: 'x' });
    expect((await store.start(1)).started).toEqual([]);
    expect(await redis.hget(`job:${id}`, 'status')).toBe('success');
  });

  it('hands a job back, so that another runner starts it at once, without counting the attempt', async () => {
    const store = await open();
    const { id } = await produce(redis);
    const { lease } = only((await store.start(1)).started);
    await store.handBack(lease);
    expect([await redis.hget(`job:${id}`, 'status'), await running('ada')]).toEqual(['pending', '0']);
    expect(await redis.hget(`job:${id}`, 'started_at')).toBeNull();
    await store.leave();
    const other = await open('runner-2');
    expect(only((await other.start(1)).started).job).toMatchObject({ id, attempt: 1 });
  });

  it('F51: starts a job again whose start it never learned of, but no job of another process', async () => {
    const store = await open();
    const { id } = await produce(redis);
    const unheard = only((await store.start(1)).started);
    const namesake = await open();
    await namesake.recall(await namesake.untouched(0, null));
    expect((await namesake.start(1)).started).toEqual([]);
    await sleep(5);
    await store.recall(await store.untouched(0, null));
    const { job, lease } = only((await store.start(1)).started);
    expect(job).toMatchObject({ id, attempt: 1 });
    expect(await store.renew([unheard.lease, lease])).toEqual(['lost', 'running']);
    expect(await running('ada')).toBe('1');
  });

  it('leaves its entries to others when it leaves the group', async () => {
    const store = await open();
    const { id } = await produce(redis);
    await store.nextEntry(NEVER);
    await store.leave();
    const other = await open('runner-2');
    expect(ids((await other.start(1)).started)).toEqual([id]);
  });

  it('does not count the jobs of a dead runner, even if its users have no new jobs', async () => {
    const dead = await open('dead');
    const { id, entry } = await produce(redis);
    await dead.start(1);
    await redis.del(`job:${id}`);
    await redis.xdel('jobs:stream', entry);
    await letTimePass();
    await (await open('alive')).claimIdle('0-0');
    expect(await running('ada')).toBe('0');
  });

  it('gives up a job whose runners died too often', async () => {
    const store = await open('runner-1', { maxAttempts: 2 });
    const { id } = await produce(redis);
    for (const _ of [1, 2]) {
      only((await store.start(1)).started);
      await letTimePass();
    }
    const { started, setAside } = await store.start(1);
    expect([started, setAside]).toEqual([
      [],
      [expect.objectContaining({ jobId: id, reason: expect.stringMatching(/started 2 times/) })],
    ]);
    expect(await redis.hgetall(`job:${id}`)).toMatchObject({
      status: 'failed',
      error_message: expect.stringMatching(/runner died/),
    });
    expect(await running('ada')).toBe('0');
  });

  describe('sets aside, with a reason and for good,', () => {
    const huge = 'x'.repeat(3 * 1024 * 1024);
    const cases: [what: string, fields: JobFields, reason: RegExp][] = [
      ['an entry without job_id', { entry: { job_id: undefined } }, /no job_id/],
      ['an entry without user_id', { entry: { user_id: undefined } }, /no user_id/],
      ['an entry without prompt', { entry: { prompt: undefined } }, /no prompt/],
      ['an entry without repo_url', { entry: { repo_url: undefined } }, /no repo_url/],
      ['an empty job_id', { entry: { job_id: '' } }, /job_id .*empty/],
      ['a job_id that is a path', { entry: { job_id: '../../etc/passwd' } }, /job_id has other characters/],
      ['a job_id with a line break', { entry: { job_id: 'a\nb' } }, /job_id has other characters/],
      ['a huge job_id', { entry: { job_id: 'a'.repeat(200) } }, /job_id has other characters/],
      ['a user_id with blanks', { entry: { user_id: 'a b' } }, /user_id has blanks/],
      ['a provider_id that reaches into other keys', { entry: { provider_id: 'a:b' } }, /provider_id/],
      ['a huge prompt in the entry', { entry: { prompt: huge } }, /larger than/],
      ['a huge prompt in the hash', { hash: { prompt: huge } }, /prompt .* too large/],
      ['a hash without prompt', { hash: { prompt: undefined } }, /has no prompt/],
      ['a hash without user', { hash: { user_id: undefined } }, /has no user_id/],
      ['a hash without status', { hash: { status: undefined } }, /status .* none/],
      ['a hash with an unknown status', { hash: { status: '{"a":1}' } }, /status .* none/],
      ['the job of another user', { hash: { user_id: 'eve' } }, /user_id of the entry is not/],
    ];
    it.each(cases)('%s', async (_what, fields, reason) => {
      const store = await open();
      const { id, entry } = await produce(redis, fields);
      const { started, setAside } = await store.start(3);
      expect([started, setAside]).toEqual([
        [],
        [expect.objectContaining({ entry, reason: expect.stringMatching(reason) })],
      ]);
      expect(await redis.xlen('jobs:stream')).toBe(0);
      expect(await redis.xpending('jobs:stream', 'jobs:stream:runners')).toEqual([0, null, null, null]);
      const [[, words] = ['', []]] = await redis.xrange('jobs:stream:aside', '-', '+');
      expect(words?.join(' ')).toMatch(reason);
      if (fields.entry?.job_id === undefined && !('job_id' in (fields.entry ?? {}))) {
        expect(await redis.hget(`job:${id}`, 'status')).toBe('failed');
      }
      expect((await store.start(3)).setAside).toEqual([]);
    });

    it('a job whose hash is missing or has another type', async () => {
      const store = await open();
      const [deleted = '', list = ''] = await produceMany(2);
      await redis.del(`job:${deleted}`, `job:${list}`);
      await redis.rpush(`job:${list}`, 'x');
      const { started, setAside } = await store.start(3);
      expect(started).toEqual([]);
      expect(setAside.map(({ reason }) => reason)).toEqual([
        `There is no hash job:${deleted}.`,
        `job:${list} is a list, not a hash.`,
      ]);
      expect([await redis.exists(`job:${deleted}`), await redis.type(`job:${list}`)]).toEqual([0, 'list']);
      expect(await redis.xlen('jobs:stream')).toBe(0);
    });

    it('none of the good entries among them, and keeps at most a thousand', async () => {
      const store = await open();
      for (let index = 0; index < 1_100; index += 1) await addEntry(redis, { nonsense: String(index) });
      const { id } = await produce(redis);
      const jobs: StartedJob[] = [];
      for (let more = true; more; ) {
        const answer = await store.start(3);
        jobs.push(...answer.started);
        more = answer.more;
      }
      expect(ids(jobs)).toEqual([id]);
      expect(await redis.xlen('jobs:stream:aside')).toBe(1_000);
    });
  });

  it('goes on when its own keys were deleted or are of another type', async () => {
    const store = await open();
    for (const key of [
      'leases',
      'ready',
      'user:ada:holders',
      'user:ada:waiting',
      'user:ada:running',
      'turn',
    ]) {
      await redis.hset(`runner:${key}`, 'x', 'y');
    }
    const [first, second] = await produceMany(2);
    const jobs = (await store.start(2)).started;
    expect(ids(jobs)).toEqual([first, second]);
    await redis.del('runner:leases', 'runner:user:ada:holders', 'runner:user:ada:running');
    expect(await store.renew(jobs.map(({ lease }) => lease))).toEqual(['running', 'running']);
    expect(await running('ada')).toBe('2');
  });

  it('appends lines that expire after a day, and leaves an output of another type alone', async () => {
    const store = await open();
    const { id } = await produce(redis);
    const { lease } = only((await store.start(1)).started);
    await store.appendOutput(lease, [{ at: 17, stream: 'stderr', line: 'a "line"' }]);
    expect(await redis.lrange(`job:${id}:output`, 0, -1)).toEqual([
      '{"timestamp":17,"line":"a \\"line\\"","stream":"stderr"}',
    ]);
    expect(await redis.ttl(`job:${id}:output`)).toBeGreaterThan(86_390);
    await redis.expire(`job:${id}:output`, 10);
    await store.appendOutput(lease, [{ at: 18, stream: 'stdout', line: 'renews it' }]);
    expect(await redis.ttl(`job:${id}:output`)).toBeGreaterThan(86_390);
    await redis.set(`job:${id}:output`, 'x');
    expect(await store.appendOutput(lease, [{ at: 18, stream: 'stdout', line: 'b' }])).toBe(true);
  });

  it('reads providers, and says what is wrong with one', async () => {
    const store = await open();
    expect(await store.provider('ada', 'p1')).toBeNull();
    await redis.hset('git_provider:ada:p1', { type: 'gitlab', url: '', token: 'a:b:c', username: 'ada' });
    expect(await store.provider('ada', 'p1')).toEqual({ type: 'gitlab', url: null, token: 'a:b:c' });
    await redis.hset('git_provider:ada:p2', { type: 'svn', token: 'x' });
    expect(await store.provider('ada', 'p2')).toMatch(/neither/);
    await redis.set('git_provider:ada:p3', 'x');
    expect(await store.provider('ada', 'p3')).toMatch(/hash/);
  });
});
