import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RunEventBody } from '../../runs/run-events.ts';
import {
  claimNext,
  DEPLOY_BODY,
  done,
  ended,
  logged,
  planned,
  stepStarted,
  toApproval,
} from '../../triggers/deployments.fixture.ts';
import { DAY } from '../../units.ts';
import { startServer } from '../frame/server.ts';
import { AS_VIEWER } from '../pages.fixtures.ts';
import { openDeployApp, postDeploy } from './deployments.fixtures.ts';

let stage: Awaited<ReturnType<typeof openDeployApp>>;
let server: ReturnType<typeof stage.serve>;
let id: string;
beforeEach(async () => {
  stage = await openDeployApp();
  server = stage.serve();
  id = await postDeploy(server.app, DEPLOY_BODY);
});
afterEach(async () => {
  server.closeStreams();
  await stage.close();
});

interface Message {
  event: string;
  data: string;
  id: string | null;
}

/** Reads a stream as the standard says that a client does: https://html.spec.whatwg.org/#event-stream-interpretation. */
function parse(text: string): Message[] {
  const messages: Message[] = [];
  let current: { event: string; data: string[]; id: string | null } = {
    event: 'message',
    data: [],
    id: null,
  };
  for (const line of text.split(/\r\n|\n|\r/)) {
    const [, field = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (field === 'data') current.data.push(value);
    else if (field === 'event') current.event = value;
    else if (field === 'id') current.id = value;
    if (line !== '') continue;
    if (current.data.length > 0) messages.push({ ...current, data: current.data.join('\n') });
    current = { event: 'message', data: [], id: null };
  }
  return messages;
}

function open(headers: Record<string, string> = {}): Promise<Response> {
  return Promise.resolve(server.app.request(`/deploy/${id}/logs`, { headers: { ...AS_VIEWER, ...headers } }));
}

async function whole(headers: Record<string, string> = {}): Promise<Message[]> {
  return parse(await (await open(headers)).text());
}

async function append(...events: RunEventBody[]): Promise<void> {
  const { lease } = await claimNext(stage.store());
  await stage.store().append(lease, events);
}

/** Reads until `enough` is true of the text so far. */
async function readUntil(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  enough: (text: string) => boolean,
): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  while (!enough(text)) {
    const { done, value } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
  }
  return text;
}

const inShort = ({ event, data, id }: Message) => {
  if (event === 'log') return `${id} ${data}`;
  const { status, phase } = JSON.parse(data);
  return `${id} ${event} ${status}/${phase}`;
};

const APPLY: RunEventBody[] = [
  stepStarted('apply'),
  logged('apply', 'Apply complete!'),
  done('apply'),
  stepStarted('output'),
  done('output'),
  ended('succeeded'),
];

describe('The log stream of a deployment', () => {
  it('sends everything in order: lines as they are, changes of the status, and the end', async () => {
    await append(...toApproval(stage.clock.now + DAY));
    await stage.api().approve(id, 'ada');
    await append(...APPLY);
    const response = await open();
    expect(response.headers.get('Content-Type')).toBe('text/event-stream');
    expect(parse(await response.text()).map(inShort)).toEqual([
      '1 status running/initializing',
      '8 status running/cloning',
      '10 status running/init',
      '11 \u001b[1mInitializing\u001b[0m',
      '12 ',
      '14 status running/plan',
      '15   \u001b[32m+\u001b[0m create',
      '18 status awaiting_approval/plan',
      '19 status running/apply',
      '22 Apply complete!',
      '26 status success/completed',
      'null end success/completed',
    ]);
  });

  it('says why it failed', async () => {
    await append(...planned('clone'), stepStarted('clone'), ended('failed', 'The ref nope is unknown'));
    const messages = await whole();
    expect(JSON.parse(messages.at(-2)?.data ?? '')).toEqual({
      deployment_id: id,
      status: 'failed',
      phase: 'cloning',
      error: 'The ref nope is unknown',
    });
    expect(messages.at(-1)).toMatchObject({ event: 'end' });
  });

  it('resumes after any id, also within a chunk and after a restart, with nothing lost, twice or changed', async () => {
    await append(...toApproval(stage.clock.now + DAY));
    await stage.api().approve(id, 'ada');
    await append(
      ...planned('apply'),
      stepStarted('apply'),
      logged('apply', 'a', 'b', 'c'),
      ended('succeeded'),
    );
    const all = await whole();
    const last = Number(all.at(-2)?.id);
    for (let seen = 0; seen <= last; seen += 1) {
      if (seen === 5) {
        await stage.reopen();
        server = stage.serve();
      }
      const expected = all.filter((message) => message.id === null || Number(message.id) > seen);
      expect(await whole({ 'Last-Event-ID': String(seen) })).toEqual(expected);
    }
    expect((await open({ 'Last-Event-ID': 'x' })).status).toBe(400);
  });

  it('F48: keeps its frame whatever a line holds', async () => {
    const odd = [
      'a\rdata: forged',
      'b\r\n\r\nevent: end\r\ndata: {}',
      'c\n\nid: 99',
      'd\0e',
      '',
      ' leading',
      ': comment',
      'event: end',
      '\u2028 \u0085 \ufeff',
      '\u001b[31mred',
    ];
    await append(...planned('plan'), stepStarted('plan'), logged('plan', ...odd), ended('succeeded'));
    const messages = await whole();
    const lines = messages.filter(({ event }) => event === 'log');
    expect(lines.map(({ data }) => data)).toEqual([
      'a\ufffddata: forged',
      'b\ufffd\ufffd\ufffd\ufffdevent: end\ufffd\ufffddata: {}',
      'c\ufffd\ufffdid: 99',
      'd\ufffde',
      ...odd.slice(4),
    ]);
    expect(lines.map(({ id: sequence }) => Number(sequence))).toEqual(odd.map((_, index) => index + 5));
    expect(messages.filter(({ event }) => event === 'end')).toHaveLength(1);
    expect(messages.at(-1)?.event).toBe('end');
  });

  it('gives every subscriber every line exactly once, whenever it came', async () => {
    const { lease } = await claimNext(stage.store());
    const readers: Promise<string>[] = [];
    const join = async () => readers.push(open().then((response) => response.text()));
    await join();
    await stage.store().append(lease, [...planned('plan'), stepStarted('plan')]);
    for (let chunk = 0; chunk < 60; chunk += 1) {
      if (chunk % 15 === 0) await join();
      const lines = Array.from({ length: 20 }, (_, n) => `line ${chunk * 20 + n}`);
      const written = stage.store().append(lease, [logged('plan', ...lines)]);
      if (chunk % 7 === 0) await written;
    }
    await stage.store().append(lease, [ended('succeeded')]);
    await join();
    const expected = Array.from({ length: 1_200 }, (_, n) => `line ${n}`);
    const texts = await Promise.all(readers);
    expect(texts).toHaveLength(6);
    for (const text of texts) {
      expect(parse(text).flatMap(({ event, data }) => (event === 'log' ? [data] : []))).toEqual(expected);
      expect(parse(text)).toEqual(parse(texts[0] ?? ''));
    }
  });

  it('stays open while it awaits approval, and goes on when that is given', async () => {
    await append(...toApproval(stage.clock.now + DAY));
    const reader = (await open()).body?.getReader();
    if (!reader) throw new Error('No body.');
    const first = await readUntil(reader, (text) => text.includes('awaiting_approval'));
    expect(first).not.toContain('event: end');
    await stage.api().approve(id, 'ada');
    await append(...APPLY);
    const rest = parse(await readUntil(reader, () => false));
    expect(rest.map(({ event }) => event)).toEqual(['status', 'log', 'status', 'end']);
  });

  it('ends for a deployment that is cancelled while it waits', async () => {
    const text = open().then((response) => response.text());
    await stage.api().cancel(id, 'oscar');
    expect(parse(await text).map(inShort)).toEqual([
      '1 status running/initializing',
      '3 status cancelled/initializing',
      'null end cancelled/initializing',
    ]);
  });

  it('goes over real connections, to two clients at once, and is closed with the server', async () => {
    const { lease } = await claimNext(stage.store());
    await stage.store().append(lease, [...planned('init'), stepStarted('init'), logged('init', 'first')]);
    const running = await startServer(server.app, {
      host: '127.0.0.1',
      port: 0,
      gate: { watch() {} },
      log: { warn() {} },
      onFailure() {},
    });
    const address = `http://127.0.0.1:${running.port}/deploy/${id}`;
    const readers = [];
    for (let client = 0; client < 2; client += 1) {
      const reader = (await fetch(`${address}/logs`, { headers: AS_VIEWER })).body?.getReader();
      if (!reader) throw new Error('No body.');
      readers.push(reader);
    }
    for (const reader of readers) await readUntil(reader, (text) => text.includes('data: first\n'));
    await stage.store().append(lease, [logged('init', 'second')]);
    for (const reader of readers) await readUntil(reader, (text) => text.includes('data: second\n'));
    for (let poll = 0; poll < 2; poll += 1) {
      const { init_log } = JSON.parse(
        await (await fetch(`${address}/status`, { headers: AS_VIEWER })).text(),
      );
      expect(init_log).toBe('first\nsecond\n');
    }
    server.closeStreams();
    for (const reader of readers) expect(await readUntil(reader, () => false)).not.toContain('event: end');
    await running.close();
    expect((await open()).status).toBe(503);
  });

  it('is refused with 503 while too many are open', async () => {
    server = stage.serve({ maxStreams: 1 });
    const first = await open();
    const second = await open();
    expect([first.status, second.status]).toEqual([200, 503]);
  });
});
