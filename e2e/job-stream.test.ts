/** GET /jobs/:id/stream as its readers see it, with a real server, a real worker and a real Redis. */

import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { get } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { describeUnless } from './support/describe-unless.ts';
import { readMessages, type StreamMessage } from './support/event-stream.ts';
import { type JobStage, setJobStage, withoutRedis } from './support/jobs.ts';
import { obtainedInvoke } from './support/obtained.ts';
import { type Runner, startRunner } from './support/runner.ts';
import { API_TOKENS } from './support/runner-environment.ts';
import { memoryOf } from './support/server-memory.ts';
import { until } from './support/until.ts';

describeUnless(withoutRedis, 'The stream of a job', () => {
  let stage: JobStage;
  let server: Runner;

  beforeAll(async () => {
    stage = await setJobStage('job-stream', '--appendonly', 'yes', '--appendfsync', 'always');
    const agent = await stage.writeAgent(
      'cat > .prompt; . ./.prompt; status=$?; rm -f .prompt; exit $status',
    );
    const folder = join(stage.folder, 'server');
    await mkdir(folder);
    server = await startRunner({
      folder,
      repositoryPath: stage.bare,
      invoke: obtainedInvoke(),
      environment: { REDIS_URL: stage.server.url },
    });
    await stage.startWorker({ AGENT_COMMAND: agent });
  });
  afterAll(async () => {
    await server?.kill();
    await stage?.close();
  });

  const streamOf = (id: string) => `${server.url}/jobs/${id}/stream`;
  const gate = (name: string) => join(stage.folder, name);
  const waitAt = (name: string) => `while [ ! -e ${gate(name)} ]; do sleep 0.05; done`;
  const openGate = async (name: string): Promise<void> => {
    await mkdir(gate(name), { recursive: true });
  };
  const lineOf = ({ data }: StreamMessage) => String(data.line);
  const linesIn = (messages: StreamMessage[]) => messages.filter(({ event }) => event === 'line').map(lineOf);
  const statesIn = (messages: StreamMessage[]) =>
    messages.filter(({ event }) => event === 'state').map(({ data }) => data.status);

  /** Reads in the background and adds each message to `messages` when it arrives. */
  function read(id: string, lastEventId?: number) {
    const messages: StreamMessage[] = [];
    const ended = (async () => {
      const options = lastEventId === undefined ? {} : { lastEventId };
      for await (const message of readMessages(streamOf(id), options)) messages.push(message);
      return messages;
    })();
    return { messages, ended };
  }

  function line(reader: { messages: StreamMessage[] }, text: string): Promise<StreamMessage> {
    return until(
      `the line ${text}`,
      () => reader.messages.find((message) => message.event === 'line' && lineOf(message) === text),
      { seen: () => reader.messages.slice(-5) },
    );
  }

  /**
   * Checks the order of every stream: the state comes first, each line comes once and in order, and `done` comes
   * last.
   */
  function expectInOrder(messages: StreamMessage[], first = 1): void {
    expect(messages[0]?.event).toBe('state');
    expect(messages.filter(({ event }) => event === 'done')).toEqual([messages.at(-1)]);
    const numbers = messages.filter(({ event }) => event === 'line').map(({ id }) => id);
    expect(numbers).toEqual(numbers.map((_, index) => first + index));
  }

  it('sends the state, then the lines written so far, then each new line, and `done` last', async () => {
    const job = await stage.job({
      prompt: `echo one; echo two >&2; ${waitAt('first')}; echo three; ${waitAt('second')}; echo x > x`,
    });
    await until('lines', async () => ((await stage.lines(job.id)).includes('two') ? true : null));
    const reader = read(job.id);
    await line(reader, 'two');
    expect(reader.messages[0]).toMatchObject({ event: 'state', data: { id: job.id, status: 'running' } });
    expect(linesIn(reader.messages)).toEqual(await stage.lines(job.id));
    await openGate('first');
    // The stream is live here: the job waits at the second gate.
    const three = await line(reader, 'three');
    expect(three.data).toMatchObject({ stream: 'stdout', timestamp: expect.any(Number) });
    expect(reader.messages.at(-1)?.event).toBe('line');
    await openGate('second');
    const messages = await reader.ended;
    expectInOrder(messages);
    expect(linesIn(messages)).toEqual(await stage.lines(job.id));
    expect(messages.at(-1)?.data).toMatchObject({
      status: 'success',
      branch: `repobox/${job.id.slice(0, 8)}`,
      lines_added: 1,
      finished_at: expect.any(Number),
    });
    // Neither the prompt nor the user is part of the output.
    expect(Object.keys(messages[0]?.data ?? {})).not.toContain('prompt');
  });

  it('starts before the job starts, and sends each state', async () => {
    const job = await stage.job({
      id: 'waits-for-its-entry',
      entry: { job_id: 'another' },
      prompt: 'echo hi',
    });
    const reader = read(job.id);
    await until('the state', () => reader.messages[0]);
    await stage.redis.xadd(
      'jobs:stream',
      '*',
      ...['job_id', job.id, 'user_id', 'ada', 'provider_id', 'p1'],
      ...['repo_url', stage.repositoryUrl, 'prompt', 'echo hi', 'environment', 'default'],
    );
    const messages = await reader.ended;
    expectInOrder(messages);
    expect(statesIn(messages)[0]).toBe('pending');
    expect(linesIn(messages)).toContain('hi');
    expect(messages.at(-1)?.data.status).toBe('success');
  });

  it('sends everything of a finished job, and continues after the last line that the reader saw', async () => {
    const job = await stage.job({ prompt: 'seq 1 1200; exit 4' });
    await stage.ended(job.id);
    const all = await read(job.id).ended;
    expectInOrder(all);
    expect(linesIn(all)).toEqual(await stage.lines(job.id));
    expect(all[0]?.data).toEqual(all.at(-1)?.data);
    expect(all.at(-1)?.data).toMatchObject({ status: 'failed', error_message: /exit code 4/ });
    const rest = await read(job.id, 700).ended;
    expectInOrder(rest, 701);
    expect(linesIn(rest)).toEqual(linesIn(all).slice(700));
    const nothing = await read(job.id, linesIn(all).length).ended;
    expect(nothing.map(({ event }) => event)).toEqual(['state', 'done']);
  });

  it('ends with the job that is cancelled while somebody reads it', async () => {
    const job = await stage.job({ prompt: 'echo started; sleep 600' });
    const reader = read(job.id);
    await line(reader, 'started');
    await stage.redis.hset(`job:${job.id}`, 'status', 'cancelled');
    const messages = await reader.ended;
    expectInOrder(messages);
    expect(messages.at(-1)?.data.status).toBe('cancelled');
  });

  it('is open to every token, and only for jobs that exist', async () => {
    const job = await stage.job({ prompt: 'true' });
    await stage.ended(job.id);
    const status = async (path: string, token?: string) => {
      const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
      const response = await fetch(`${server.url}${path}`, { headers });
      await response.body?.cancel();
      return response.status;
    };
    const path = `/jobs/${job.id}/stream`;
    expect(await status(path)).toBe(401);
    expect(await status(path, 'no-token-of-ours')).toBe(401);
    expect(await status(`${path}?key=abc`)).toBe(401);
    for (const token of Object.values(API_TOKENS)) expect(await status(path, token)).toBe(200);
    expect(await status('/jobs/no-such-job/stream', API_TOKENS.admin)).toBe(404);
    expect(await status('/jobs/..%2F..%2Fetc/stream', API_TOKENS.admin)).toBe(404);
    // Without a token, nobody learns whether a job exists.
    expect(await status('/jobs/no-such-job/stream')).toBe(401);
  });

  it('exists for jobs that wait or run, whose number is on /workers and in the metrics', async () => {
    // The jobs of the earlier tests end first.
    await until('an empty stream', async () => ((await stage.redis.xlen('jobs:stream')) === 0 ? true : null));
    onTestFinished(() => openGate('counted'));
    const job = await stage.job({ prompt: waitAt('counted') });
    await until('the running job', async () =>
      (await stage.hash(job.id)).status === 'running' ? true : null,
    );
    expect((await server.getJson('/workers')).body).toMatchObject({
      jobs: { stream_depth: 1, running: 1, oldest_waiting_seconds: null },
    });
    const metrics = String((await server.getJson('/metrics')).body);
    expect(metrics).toContain('iac_runner_jobs_stream_depth 1');
    expect(metrics).toContain('iac_runner_jobs_oldest_seconds 0');
    await openGate('counted');
    await stage.ended(job.id);
  });

  it('is not blocked by a reader who stops reading, and forgets readers who leave', async () => {
    // The job has written 80 MB, which is more than any buffer on the way holds.
    const id = 'loud';
    await stage.redis.del(`job:${id}:output`);
    await stage.redis.hset(`job:${id}`, { id, status: 'running' });
    const text = 'x'.repeat(16_000);
    for (let from = 0; from < 5_000; from += 500) {
      const portion = Array.from({ length: 500 }, (_, index) =>
        JSON.stringify({ timestamp: 1, line: `${from + index} ${text}`, stream: 'stdout' }),
      );
      await stage.redis.rpush(`job:${id}:output`, ...portion);
    }
    const request = get(streamOf(id), { headers: { authorization: `Bearer ${API_TOKENS.viewer}` } });
    const [slow] = await once(request, 'response');
    const { nowMib: before } = await memoryOf(server.pid);
    for (let index = 0; index < 20; index += 1) {
      const leaving = new AbortController();
      const headers = { authorization: `Bearer ${API_TOKENS.viewer}` };
      await fetch(streamOf(id), { headers, signal: leaving.signal });
      leaving.abort();
    }
    // Meanwhile another job is finished and read.
    const job = await stage.job({ prompt: 'echo meanwhile' });
    expect(linesIn(await read(job.id).ended)).toContain('meanwhile');
    expect((await memoryOf(server.pid)).nowMib - before).toBeLessThan(150);
    // The server reads nothing for readers who left, so at most the slow reader still causes reads of Redis.
    const asked = async () =>
      Number(/cmdstat_lrange:calls=(\d+)/.exec(await stage.redis.info('commandstats'))?.[1]);
    await until('a second in which Redis is asked less than ten times', async () => {
      const before = await asked();
      await sleep(1_000);
      return (await asked()) - before < 10 ? true : null;
    });
    await stage.redis.hset(`job:${id}`, { status: 'success' });
    const chunks: Buffer[] = [];
    for await (const chunk of slow) chunks.push(chunk);
    const seen = String(Buffer.concat(chunks)).replaceAll(text, '');
    const numbers = [...seen.matchAll(/"line":"(\d+) "/g)].map(([, number]) => Number(number));
    expect(numbers).toEqual(Array.from({ length: 5_000 }, (_, index) => index));
    expect(seen.trimEnd()).toMatch(/event: done\ndata: {"id":"loud","status":"success"}$/);
  });

  it('F49: continues where it was when Redis is killed and started again', async () => {
    const job = await stage.job({ prompt: `echo before; ${waitAt('restarted')}; echo after` });
    const reader = read(job.id);
    await line(reader, 'before');
    await stage.server.kill();
    await until('a server that misses Redis', async () =>
      (await server.getJson(`/jobs/${job.id}/stream`)).status === 503 ? true : null,
    );
    await stage.server.start();
    await openGate('restarted');
    const messages = await reader.ended;
    expectInOrder(messages);
    expect(linesIn(messages)).toEqual(await stage.lines(job.id));
    expect(linesIn(messages)).toContain('after');
    expect(messages.at(-1)?.data.status).toBe('success');
  });

  it('F49: is refused while Redis is away, and breaks off when Redis stays away or the server stops', async () => {
    const job = await stage.job({ prompt: 'echo started; sleep 600' });
    const reader = read(job.id);
    await line(reader, 'started');
    await stage.server.kill();
    expect((await server.getJson(`/jobs/${job.id}/stream`)).status).toBe(503);
    await stage.server.start();
    expect(await server.stop()).toBe(0);
    // There is no `done`, so the reader knows that more will come.
    expect((await reader.ended.catch(() => reader.messages)).map(({ event }) => event)).not.toContain('done');
    await stage.redis.hset(`job:${job.id}`, 'status', 'cancelled');
    await stage.ended(job.id);
  });
});
