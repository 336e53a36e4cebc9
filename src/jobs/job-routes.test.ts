import type { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { StoreUnavailableError } from '../errors.ts';
import { createTestAccess } from '../web/access/access.fixture.ts';
import { createTestRuns } from '../web/runs.fixtures.ts';
import { createJobRoutes, type JobRoutesOptions } from './job-routes.ts';
import { type JobReader, openJobReader } from './store/job-reader.ts';
import { hasRedisServer, type RedisServer, startRedisServer } from './store/redis-server.fixture.ts';

const missing = !hasRedisServer();
const TOKEN = 'viewer-token-1234';
const AS_VIEWER = { Authorization: `Bearer ${TOKEN}` };

describe.skipIf(missing)(
  `The stream of a job${missing ? ' (skipped: redis-server is not installed)' : ''}`,
  () => {
    let server: RedisServer;
    let redis: Redis;
    let reader: JobReader;

    beforeAll(async () => {
      server = await startRedisServer();
      redis = server.client();
    });
    afterAll(() => server.remove());
    beforeEach(async () => {
      await redis.flushall();
      reader = openJobReader(server.url);
    });
    afterEach(() => reader.close());

    function serve(options: Partial<JobRoutesOptions> = {}) {
      const access = createTestAccess({
        tokens: [{ name: 'eye', role: 'viewer', token: TOKEN }],
        store: createTestRuns(),
      });
      return createJobRoutes({ reader, access, maxStreams: 10, everyMs: 20, ...options });
    }

    const line = (text: string) => JSON.stringify({ timestamp: 1, line: text, stream: 'stdout' });

    function blocksOf(text: string): string[] {
      return text.split('\n\n').filter((block) => block.includes('event: '));
    }

    it('sends the state, all lines, and `done` last', async () => {
      await redis.hset('job:j1', {
        id: 'j1',
        status: 'success',
        lines_added: '2',
        prompt: 'secret',
        user_id: 'u',
      });
      await redis.rpush(
        'job:j1:output',
        ...Array.from({ length: 1_200 }, (_, index) => line(`line ${index}`)),
      );
      const response = await serve().routes.request('/jobs/j1/stream', { headers: AS_VIEWER });
      expect(response.headers.get('content-type')).toContain('text/event-stream');
      const blocks = blocksOf(await response.text());
      const state = '{"id":"j1","status":"success","lines_added":2}';
      expect(blocks[0]).toContain(`event: state\ndata: ${state}`);
      expect(blocks[1]).toBe('id: 1\nevent: line\ndata: {"timestamp":1,"line":"line 0","stream":"stdout"}');
      expect(blocks).toHaveLength(1_202);
      expect(blocks.at(-1)).toBe(`event: done\ndata: ${state}`);
    });

    it('goes on live, sends new states, and ends with the job', async () => {
      await redis.hset('job:j1', { id: 'j1', status: 'pending' });
      const response = await serve().routes.request('/jobs/j1/stream', { headers: AS_VIEWER });
      let text = '';
      const ended = (async () => {
        for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) text += chunk;
      })();
      await expect.poll(() => text).toContain('pending');
      await redis.hset('job:j1', { status: 'running', started_at: '17' });
      await redis.rpush('job:j1:output', line('first'));
      await expect.poll(() => text).toContain('first');
      // The stream reads the state before the lines.
      expect(text).toContain('running');
      await redis.rpush('job:j1:output', 'not JSON');
      await redis.hset('job:j1', { status: 'failed', error_message: 'a\nb' });
      await ended;
      expect(blocksOf(text).map((block) => block.replace(/^retry: 2000\n*/, ''))).toEqual([
        'event: state\ndata: {"id":"j1","status":"pending"}',
        'event: state\ndata: {"id":"j1","status":"running","started_at":17}',
        'id: 1\nevent: line\ndata: {"timestamp":1,"line":"first","stream":"stdout"}',
        'id: 2\nevent: line\ndata: {"timestamp":null,"line":"not JSON","stream":"stdout"}',
        'event: done\ndata: {"id":"j1","status":"failed","started_at":17,"error_message":"a\\nb"}',
      ]);
    });

    it('resumes after the last line that the client has seen', async () => {
      await redis.hset('job:j1', { id: 'j1', status: 'cancelled' });
      await redis.rpush('job:j1:output', line('a'), line('b'), line('c'));
      const headers = { ...AS_VIEWER, 'Last-Event-ID': '2' };
      const text = await (await serve().routes.request('/jobs/j1/stream', { headers })).text();
      expect(text).not.toContain('"line":"b"');
      expect(text).toContain('id: 3\n');
    });

    it('ends when the job is deleted', async () => {
      await redis.hset('job:j1', { id: 'j1', status: 'running' });
      const response = await serve().routes.request('/jobs/j1/stream', { headers: AS_VIEWER });
      await redis.del('job:j1');
      expect(blocksOf(await response.text()).at(-1)).toBe('event: done\ndata: {"status":null}');
    });

    it('breaks off without `done` if Redis stays away, and reports that', async () => {
      const errors: unknown[] = [];
      let reads = 0;
      // With this clock, each read takes 250 ms.
      vi.useFakeTimers({ toFake: ['performance'] });
      onTestFinished(() => void vi.useRealTimers());
      const away: Pick<JobReader, 'read'> = {
        async read() {
          reads += 1;
          vi.advanceTimersByTime(250);
          if (reads > 2) throw new StoreUnavailableError('away');
          return { fields: { id: 'j1', status: 'running' }, lines: [] };
        },
      };
      const { routes } = serve({
        reader: away,
        patienceMs: 600,
        onStreamError: (error) => errors.push(error),
      });
      const response = await routes.request('/jobs/j1/stream', { headers: AS_VIEWER });
      const text = await response.text().catch(() => '');
      expect(text).not.toContain('event: done');
      expect(reads).toBe(2 + 3);
      expect(errors).toEqual([expect.any(StoreUnavailableError)]);
    });

    it('refuses callers without a token, unknown and malformed ids, and too many streams', async () => {
      await redis.hset('job:j1', { id: 'j1', status: 'running' });
      await redis.set('job:text', 'x');
      const { routes, closeStreams } = serve({ maxStreams: 1 });
      const status = async (path: string, headers = AS_VIEWER as Record<string, string>) =>
        (await routes.request(path, { headers })).status;
      expect(await status('/jobs/j1/stream', {})).toBe(401);
      expect(await status('/jobs/none/stream')).toBe(404);
      expect(await status('/jobs/text/stream')).toBe(404);
      expect(await status('/jobs/..%2fx/stream')).toBe(404);
      expect(await status('/jobs/j1/stream', { ...AS_VIEWER, 'Last-Event-ID': 'x' })).toBe(400);
      const first = await routes.request('/jobs/j1/stream', { headers: AS_VIEWER });
      expect([first.status, await status('/jobs/j1/stream')]).toEqual([200, 503]);
      closeStreams();
      await first.text();
    });
  },
);
