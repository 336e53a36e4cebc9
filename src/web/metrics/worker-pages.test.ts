import { randomUUID } from 'node:crypto';
import { describe, expect, it, onTestFinished } from 'vitest';
import { StoreUnavailableError } from '../../errors.ts';
import { openJobReader } from '../../jobs/store/job-reader.ts';
import { openJobStore } from '../../jobs/store/job-store.ts';
import { produce } from '../../jobs/store/jobs.fixture.ts';
import { hasRedisServer, startRedisServer } from '../../jobs/store/redis-server.fixture.ts';
import type { Fleet, WorkerSign } from '../../runs/fleet.ts';
import { HOUR, MINUTE } from '../../units.ts';
import { createTestAccess, createTestGate } from '../access/access.fixture.ts';
import { loadAssets } from '../frame/assets.ts';
import { AS_VIEWER, BROWSER, WANTS_JSON } from '../pages.fixtures.ts';
import { createTestRuns, START_AT } from '../runs.fixtures.ts';
import { createMetricsRoutes } from './metrics.ts';
import { createWorkerRoutes, type WorkerRoutesOptions } from './worker-pages.ts';

const HOSTILE = `"><img src=x onerror=alert(1)>'</script><script>alert(2)</script>\u202e`;

function sign(owner: string, more: Partial<WorkerSign> = {}): WorkerSign {
  return {
    owner,
    command: 'worker',
    version: '1.2.3',
    labels: null,
    tools: null,
    limits: { sync: 1, preview: 1, deploy: 1, plan: 1, command: 1 },
    runs: [],
    startedAt: START_AT - 60_000,
    at: START_AT - 1_000,
    ...more,
  };
}

function pagesOf(options: Partial<WorkerRoutesOptions>, signs: WorkerSign[] = []) {
  const runs = createTestRuns();
  const access = createTestAccess({
    tokens: [{ name: 'vera', role: 'viewer', token: 'viewer-token' }],
    store: runs,
    clock: () => START_AT,
  });
  runs.add('s1', { state: 'running' });
  runs.add('s2');
  runs.add('s3');
  const fleet: Fleet = {
    beat: async () => undefined,
    leave: async () => undefined,
    workers: async () => ({ workers: signs, now: START_AT }),
    oldestWaiting: async () => START_AT - 125_000,
    takeDuty: async () => true,
    leaveDuty: async () => undefined,
    identity: async () => 'x',
  };
  const all = {
    store: runs,
    failures: createTestGate().failures,
    fleet,
    jobs: null,
    access,
    assets: loadAssets(),
    clock: () => START_AT,
    publicUrl: null,
    ...options,
  };
  const ask = async (headers: Record<string, string>) =>
    createWorkerRoutes(all).request('/workers', { headers });
  return {
    runs,
    ask,
    page: async () => (await ask({ ...AS_VIEWER, ...BROWSER })).text(),
    json: async () => (await ask({ ...AS_VIEWER, ...WANTS_JSON })).json(),
    metrics: async () =>
      (await createMetricsRoutes({ ...all, store: runs }).request('/metrics', { headers: AS_VIEWER })).text(),
  };
}

/** The text of each row, as a person reads it. */
function rowsOf(page: string): string[] {
  return [...page.matchAll(/<li class="run-row">(.*?)<\/li>/gs)].map(([, row = '']) =>
    row
      .replaceAll(/<[^>]*>/g, ' ')
      .replaceAll(/\s+/g, ' ')
      .trim(),
  );
}

/** A real queue of jobs. */
async function startQueue() {
  const server = await startRedisServer();
  const jobs = openJobReader(server.url);
  onTestFinished(async () => {
    await jobs.close();
    await server.remove();
  });
  return { server, redis: server.client(), jobs };
}

/** Starts the oldest job of the queue, as a worker does. */
async function startOldest(url: string): Promise<void> {
  const store = await openJobStore({
    url,
    runnerId: 'one',
    instance: randomUUID(),
    jobsPerUser: 1,
    claimIdleMs: HOUR,
    maxAttempts: 3,
  });
  onTestFinished(() => store.close());
  await store.ensureGroup();
  const { started } = await store.start(1);
  expect(started).toHaveLength(1);
}

/** A job that was added 61 minutes ago is a little older when it is read. */
function isAbout61Minutes(seconds: number): boolean {
  return seconds >= 61 * 60 && seconds < 62 * 60;
}

describe('The page of workers', () => {
  it('shows the machines that are alive or silent, and what each runs and accepts', async () => {
    const { page } = pagesOf({}, [
      sign('alpha:17', { runs: ['r-1', 'r-2'], command: 'serve', labels: ['aws', 'linux'] }),
      sign('beta:18', { tools: ['terraform 1.11.4'], labels: [] }),
      sign('silent:19', { at: START_AT - 5 * 60_000, runs: ['r-3'] }),
    ]);
    const text = await page();
    expect(rowsOf(text)).toEqual([
      'working alpha:17 r-1 r-2 serve 1.2.3 labels aws, linux; any tools just now',
      'idle beta:18 worker 1.2.3 labels none; terraform 1.11.4 just now',
      'silent silent:19 r-3 worker 1.2.3 any labels; any tools 5 min ago',
    ]);
    expect(text).toContain('<a href="/runs/r-1">r-1</a>');
    expect(text).toMatch(/data-state="failed">silent/);
  });

  it('shows how many runs wait, of which kind, for which machines, and for how long', async () => {
    const { page, json, runs } = pagesOf({}, [sign('alpha:17', { labels: ['aws'] })]);
    runs.addDeploy('d1', {}, { labels: ['aws', 'gpu'] });
    runs.addDeploy('d2', { path: 'b' }, { labels: ['aws', 'gpu'] });
    runs.addDeploy('d3', { path: 'c' });
    const text = await page();
    expect(text).toContain(
      '<p>5 waiting (3 deployments, 2 syncs), the oldest for 2 min 05 s; 1 running.</p>',
    );
    expect(text).toContain('2 of them need a machine with the labels aws, gpu.');
    // Nobody has both labels.
    expect(text).toMatch(/<a href="\/runs\/d1">d1<\/a> waits: /);
    expect(text).not.toMatch(/\/runs\/d3/);
    expect(await json()).toMatchObject({
      queued: 5,
      queued_by_kind: { deploy: 3, sync: 2 },
      queued_by_labels: { 'aws, gpu': 2 },
      oldest_waiting_seconds: 125,
    });
  });

  it.skipIf(!hasRedisServer())('shows the queue of jobs if REDIS_URL is set', async () => {
    const { jobs, redis, server } = await startQueue();
    const now = Date.now();
    await produce(redis, { id: 'runs', addedAt: now - 2 * HOUR });
    await startOldest(server.url);
    await produce(redis, { id: 'oldest', addedAt: now - 61 * MINUTE });
    await produce(redis, { id: 'newest' });
    const { page, json, metrics } = pagesOf({ jobs });
    expect(await page()).toContain('Jobs: 3 in jobs:stream, the oldest for 1 h 01 min; 1 running.');
    expect(await json()).toMatchObject({
      jobs: { stream_depth: 3, running: 1, oldest_waiting_seconds: expect.toSatisfy(isAbout61Minutes) },
    });
    const [depth, running, oldest, ...others] = (await metrics()).match(/^iac_runner_jobs.*$/gm) ?? [];
    expect([depth, running, others]).toEqual([
      'iac_runner_jobs_stream_depth 3',
      'iac_runner_jobs_running 1',
      [],
    ]);
    const [, seconds] = /^iac_runner_jobs_oldest_seconds ([\d.]+)$/.exec(oldest ?? '') ?? [];
    expect(Number(seconds)).toSatisfy(isAbout61Minutes);
  });

  it('shows nothing about jobs if REDIS_URL is not set', async () => {
    const { page, json, metrics } = pagesOf({});
    expect(await page()).not.toContain('Jobs:');
    expect(await json()).not.toHaveProperty('jobs');
    expect(await metrics()).not.toContain('iac_runner_jobs');
  });

  it.skipIf(!hasRedisServer())(
    'is shown, and so are the metrics, while the Redis of the jobs is away',
    async () => {
      const { jobs, server } = await startQueue();
      await server.kill();
      const { page, json, metrics } = pagesOf({ jobs }, [sign('alpha:17')]);
      const text = await page();
      expect(text).toMatch(/Jobs: Redis at \S+ does not answer/);
      expect(rowsOf(text)).toHaveLength(1);
      expect(await json()).toMatchObject({ jobs: { problem: expect.stringContaining('does not answer') } });
      const numbers = await metrics();
      expect(numbers).toContain('iac_runner_workers{command="worker"} 1');
      expect(numbers).not.toContain('iac_runner_jobs');
    },
  );

  it('F48: shows the problem of the Redis of the jobs as text only', async () => {
    const queue = async () => Promise.reject(new StoreUnavailableError('Redis <b>is away</b>.'));
    expect(await pagesOf({ jobs: { queue } }).page()).toContain('Jobs: Redis &lt;b&gt;is away&lt;/b&gt;.');
  });

  it('says that a server without others works alone', async () => {
    const { page } = pagesOf({ fleet: null });
    const text = await page();
    expect(text).toContain('This server works alone: STORE_URL is not set.');
    expect(text).toContain('2 waiting (2 syncs); 1 running.');
  });

  it('is shown to every caller with a token', async () => {
    expect((await pagesOf({}).ask(WANTS_JSON)).status).toBe(401);
    expect((await pagesOf({}).ask({ ...WANTS_JSON, Authorization: 'Bearer other' })).status).toBe(401);
  });

  it('F48: shows hostile names, labels, tools, versions and runs as text only', async () => {
    const { page, runs } = pagesOf({}, [
      sign(HOSTILE, { version: HOSTILE, labels: [HOSTILE], tools: [HOSTILE], runs: [HOSTILE] }),
    ]);
    runs.addDeploy('d1', {}, { labels: [`${HOSTILE}-other`] });
    const text = await page();
    expect(text).toContain('&lt;img src=x onerror=alert(1)&gt;');
    expect(text).not.toContain('<img src=x');
    expect(text).not.toContain('alert(2)</script>');
    const tags = text.match(/<[a-z][^<>]*>/g) ?? [];
    expect(tags.filter((tag) => /\sonerror=/.test(tag.replaceAll(/"[^"]*"/g, '""')))).toEqual([]);
    // No mark that turns the reading direction.
    expect(text.replaceAll(/<[a-z/][^<>]*>/g, '')).not.toContain('\u202e');
  });
});
