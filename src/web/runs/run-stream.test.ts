import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { RunEventBody } from '../../runs/run-events.ts';
import { signRunLink } from '../access/access.ts';
import { AS_VIEWER, createTestPages, LINK_KEY } from '../pages.fixtures.ts';
import { createTestRuns, type TestRuns } from '../runs.fixtures.ts';

const END: RunEventBody = {
  type: 'run.finished',
  state: 'succeeded',
  reason: null,
  message: '1 service(s) synced successfully',
  coveredBy: null,
};

function logOf(...lines: string[]): RunEventBody {
  return { type: 'step.log', step: 'platform/postgres', stream: 'stdout', lines };
}

/** A run with the events: 1 queued, 2 started, 3 planned, 4 step started, 5–7 log, 8–9 log. */
function createRun(): TestRuns {
  const store = createTestRuns();
  store.add('r1');
  store.append(
    'r1',
    { type: 'run.started', owner: 'w', attempt: 1 },
    { type: 'step.planned', step: 'platform/postgres', position: 0, wave: 1, message: 'changed' },
    { type: 'step.started', step: 'platform/postgres', command: ['invoke'], ledger: null },
    logOf('one', 'two', 'three'),
    logOf('four', 'five'),
  );
  return store;
}

interface Message {
  id: number | null;
  event: string;
  data: unknown;
}

function parseMessages(text: string): Message[] {
  const blocks = text.split('\n\n').filter((block) => block.includes('event: '));
  return blocks.map((block) => {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1];
    const id = field('id');
    return {
      id: id === undefined ? null : Number(id),
      event: field('event') ?? '',
      data: JSON.parse(field('data') ?? ''),
    };
  });
}

function linesOf(messages: Message[]): string[] {
  return messages.filter(({ event }) => event === 'log').map(({ data }) => JSON.stringify(data));
}

/** Reads until the text so far is enough. */
async function readUntil(reader: ReadableStreamDefaultReader<Uint8Array>, enough: (text: string) => boolean) {
  const decoder = new TextDecoder();
  let text = '';
  while (!enough(text)) {
    const { done, value } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
  }
  return text;
}

describe('the event stream of a run', () => {
  it('replays everything with its sequence number, one message per line, and ends', async () => {
    const store = createRun();
    store.append('r1', END);
    const response = await createTestPages(store).app.request('/runs/r1/events', { headers: AS_VIEWER });
    expect(response.headers.get('Content-Type')).toBe('text/event-stream');
    const messages = parseMessages(await response.text());
    expect(messages.map(({ id, event }) => `${id} ${event}`)).toEqual([
      '1 run',
      '2 run',
      '3 step',
      '4 step',
      '5 log',
      '6 log',
      '7 log',
      '8 log',
      '9 log',
      '10 run',
      'null end',
    ]);
    expect(messages[3]?.data).toEqual({
      id: 'platform/postgres',
      state: 'running',
      message: 'Running',
      started_at: '2026-03-01T12:00:03.000Z',
    });
    expect(messages[4]?.data).toEqual({
      step: 'platform/postgres',
      stream: 'stdout',
      spans: [{ text: 'one' }],
    });
    expect(messages[9]?.data).toMatchObject({ state: 'succeeded', finished_at: '2026-03-01T12:00:06.000Z' });
  });

  it('resumes after any number, also within a chunk, without losing or repeating a line', async () => {
    const store = createRun();
    store.append('r1', END);
    const { app } = createTestPages(store);
    const whole = parseMessages(await (await app.request('/runs/r1/events', { headers: AS_VIEWER })).text());
    for (let last = 0; last <= 10; last += 1) {
      const expected = whole.filter(({ id }) => id === null || id > last);
      const byHeader = { ...AS_VIEWER, 'Last-Event-ID': String(last) };
      const resumed = await app.request('/runs/r1/events?after=0', { headers: byHeader });
      expect(parseMessages(await resumed.text())).toEqual(expected);
      const byQuery = await app.request(`/runs/r1/events?after=${last}`, { headers: AS_VIEWER });
      expect(parseMessages(await byQuery.text())).toEqual(expected);
    }
  });

  it('can count the lines of the log in place of sending them, from any line on', async () => {
    const store = createRun();
    store.append('r1', END);
    const { app } = createTestPages(store);
    const ask = async (after: number) => {
      const path = `/runs/r1/events?log=counts&after=${after}`;
      return parseMessages(await (await app.request(path, { headers: AS_VIEWER })).text());
    };
    const outputs = async (after: number) => (await ask(after)).filter(({ event }) => event === 'output');
    const step = 'platform/postgres';
    expect(await outputs(0)).toEqual([
      { id: 7, event: 'output', data: { step, lines: 3 } },
      { id: 9, event: 'output', data: { step, lines: 2 } },
    ]);
    expect(await outputs(6)).toMatchObject([{ data: { lines: 1 } }, { data: { lines: 2 } }]);
    expect(await outputs(7)).toMatchObject([{ data: { lines: 2 } }]);
    expect((await ask(0)).filter(({ event }) => event === 'log')).toEqual([]);
  });

  it('refuses a last event id that is not a number', async () => {
    const { app } = createTestPages(createRun());
    for (const after of ['-1', 'x', '1.5', '9'.repeat(30), '']) {
      expect((await app.request(`/runs/r1/events?after=${after}`, { headers: AS_VIEWER })).status).toBe(400);
    }
  });

  it('goes on live after the replay and ends with the run', async () => {
    const store = createRun();
    const response = await createTestPages(store).app.request('/runs/r1/events?after=9', {
      headers: AS_VIEWER,
    });
    const reader = response.body?.getReader();
    if (!reader) throw new Error('No body.');
    const rest = readUntil(reader, () => false);
    await sleep(50);
    store.append('r1', logOf('live'));
    await sleep(50);
    store.append('r1', logOf('last'), END);
    const messages = parseMessages(await rest);
    expect(messages.map(({ id, event }) => `${id} ${event}`)).toEqual([
      '10 log',
      '11 log',
      '12 run',
      'null end',
    ]);
  });

  it('holds one page of events at most, and reads more only when the client has read them', async () => {
    const store = createRun();
    for (let chunk = 0; chunk < 3000; chunk += 1) store.append('r1', logOf(`chunk ${chunk}`));
    store.append('r1', END);
    let reads = 0;
    const counting = {
      ...store,
      events: (...args: Parameters<TestRuns['events']>) => {
        reads += 1;
        return store.events(...args);
      },
    };
    const response = await createTestPages(counting).app.request('/runs/r1/events', { headers: AS_VIEWER });
    await sleep(100);
    expect(reads).toBeLessThanOrEqual(1);
    expect(linesOf(parseMessages(await response.text()))).toHaveLength(3005);
    expect(store.largestRead()).toBeLessThanOrEqual(500);
  });

  it('is refused with 503 while too many are open, and accepted after one has ended', async () => {
    const { app } = createTestPages(createRun(), { maxStreams: 2 });
    const open = () => app.request('/runs/r1/events', { headers: AS_VIEWER });
    const [first] = [await open(), await open()];
    const refused = await open();
    expect([refused.status, refused.headers.get('Retry-After')]).toEqual([503, '5']);
    await first.body?.cancel();
    await expect.poll(async () => (await open()).status).toBe(200);
  });

  it('limits the logs that are read as text in the same way, and counts each until it was read or abandoned', async () => {
    const { app } = createTestPages(createRun(), { maxStreams: 2 });
    const open = (method = 'GET') => app.request('/runs/r1/log', { method, headers: AS_VIEWER });
    for (let count = 0; count < 5; count += 1) expect((await open('HEAD')).status).toBe(200);
    const [first, second] = [await open(), await open()];
    const refused = await open();
    expect([refused.status, refused.headers.get('Retry-After')]).toEqual([503, '5']);
    await first.body?.cancel();
    const third = await open();
    expect(third.status).toBe(200);
    expect((await open()).status).toBe(503);
    expect(await second.text()).toContain('five');
    expect((await open()).status).toBe(200);
  });

  it('ends at shutdown and opens no more', async () => {
    const { app, closeStreams } = createTestPages(createRun());
    const response = await app.request('/runs/r1/events', { headers: AS_VIEWER });
    const text = response.text();
    await sleep(50);
    closeStreams();
    expect(await text).not.toContain('event: end');
    expect((await app.request('/runs/r1/events', { headers: AS_VIEWER })).status).toBe(503);
  });

  it('breaks off without internal details when the store fails, and reports the error', async () => {
    const store = createRun();
    const problems: unknown[] = [];
    const failing = { ...store, events: () => Promise.reject(new Error('disk on fire')) };
    const { app } = createTestPages(failing, { onStreamError: (error) => problems.push(error) });
    const response = await app.request('/runs/r1/events', { headers: AS_VIEWER });
    expect(await response.text()).not.toContain('disk on fire');
    expect(problems).toEqual([new Error('disk on fire')]);
  });

  it('of one public link is open 20 times at most, and callers who are signed in still get theirs', async () => {
    const { app, closeStreams } = createTestPages(createRun());
    const link = `/runs/r1/events?key=${signRunLink(LINK_KEY, 'r1')}`;
    const statuses = [];
    for (let reader = 0; reader < 25; reader += 1) statuses.push((await app.request(link)).status);
    expect(statuses).toEqual([...Array(20).fill(200), ...Array(5).fill(503)]);
    expect((await app.request('/runs/r1/events', { headers: AS_VIEWER })).status).toBe(200);
    closeStreams();
  });
});
