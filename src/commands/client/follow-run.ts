/** Shows a run in the terminal while it runs, by its event stream. */

import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { RequestError } from '../../errors.ts';
import { SECOND } from '../../units.ts';

const logSchema = z.object({ step: z.string(), spans: z.array(z.object({ text: z.string() })) });
const stepSchema = z.object({ id: z.string(), state: z.string(), message: z.string() });
const runSchema = z.object({ state: z.string().optional(), message: z.string().optional() });
const noticeSchema = z.object({ message: z.string() });

/** All pauses together are longer than a server takes to drain and to start again. */
const RETRIES = 120;
const RETRY_MS = SECOND;

interface Message {
  event: string;
  id: string;
  data: string;
}

interface FollowOptions {
  token?: string | undefined;
  /** Only the log of this step is shown. */
  step?: string | undefined;
  /** Each line is an object of JSON, which names its event. */
  json?: boolean | undefined;
}

/**
 * Prints steps and log lines until the run has ended; resolves to whether it succeeded. A stream that breaks is
 * resumed at the last event, as soon as the server answers again. `runUrl` is the signed address from the answer of
 * the server, or any address of the run with a token; it is read through `server`.
 */
export async function followRun(
  server: string,
  runUrl: string,
  { token, step, json = false }: FollowOptions = {},
): Promise<boolean> {
  const { pathname, search } = new URL(runUrl);
  const address = `${server}${pathname}/events${search}`;
  const authorization = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  const show = json ? createJsonLines(step) : (message: Message) => showText(message, step);
  let state = 'queued';
  let lastId = '0';
  for (let failures = 0; failures < RETRIES; failures += 1) {
    try {
      for await (const message of readMessages(address, { 'Last-Event-ID': lastId, ...authorization })) {
        failures = 0;
        if (message.id) lastId = message.id;
        if (message.event === 'end') return state === 'succeeded';
        if (message.event === 'run') state = runSchema.parse(JSON.parse(message.data)).state ?? state;
        show(message);
      }
    } catch (error) {
      if (error instanceof RequestError) throw error;
    }
    await sleep(RETRY_MS);
  }
  throw new RequestError(503, 'The run goes on, but it cannot be followed any longer.', {
    nextAction: `See ${runUrl}`,
  });
}

function showText({ event, data }: Message, only: string | undefined): void {
  const value: unknown = JSON.parse(data);
  if (event === 'log') {
    const { step, spans } = logSchema.parse(value);
    const text = textOf(spans);
    if (only === undefined) print(`${step} | ${text}`);
    else if (only === step) print(text);
  } else if (event === 'step' && only === undefined) {
    const { id, state, message } = stepSchema.parse(value);
    print(`${id}: ${state}${message && state !== 'running' ? ` (${message})` : ''}`);
  } else if (event === 'notice' && only === undefined) {
    print(noticeSchema.parse(value).message);
  } else if (event === 'run' && only === undefined) {
    const { state, message } = runSchema.parse(value);
    if (state || message) print(['run', state, message].filter(Boolean).join(' '));
  }
}

const otherSchema = z.looseObject({});

/** The returned function numbers the lines of each step, as the server does. */
function createJsonLines(only: string | undefined): (message: Message) => void {
  const numbers = new Map<string, number>();
  return ({ event, data }) => {
    const value: unknown = JSON.parse(data);
    if (event !== 'log') {
      if (only === undefined) print(JSON.stringify({ event, ...otherSchema.parse(value) }));
      return;
    }
    const { step, spans } = logSchema.parse(value);
    const number = (numbers.get(step) ?? 0) + 1;
    numbers.set(step, number);
    if (only === undefined || only === step)
      print(JSON.stringify({ event, step, number, text: textOf(spans) }));
  };
}

function textOf(spans: readonly { text: string }[]): string {
  return spans.map(({ text }) => text).join('');
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function* readMessages(address: string, headers: Record<string, string>): AsyncGenerator<Message> {
  const response = await fetch(address, { headers, redirect: 'error' });
  if (mayComeBack(response.status)) throw new Error(`The server answered ${response.status}.`);
  if (!response.ok || !response.body) {
    throw new RequestError(400, `The run's events cannot be read: the server answered ${response.status}.`);
  }
  let buffer = '';
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    buffer += chunk;
    const blocks = buffer.split('\n\n');
    buffer = blocks.pop() ?? '';
    for (const block of blocks) {
      const message = parseBlock(block);
      if (message) yield message;
    }
  }
}

/** Servers and proxies answer so when they may succeed later. */
function mayComeBack(status: number): boolean {
  return status >= 500 || status === 429 || status === 408;
}

/** Parses a block of text/event-stream; returns null for comments. */
function parseBlock(block: string): Message | null {
  const fields = new Map(
    block.split('\n').flatMap((line) => {
      const [, name, value] = /^(event|id|data): ?(.*)$/.exec(line) ?? [];
      return name === undefined || value === undefined ? [] : [[name, value] as const];
    }),
  );
  const event = fields.get('event');
  return event === undefined ? null : { event, id: fields.get('id') ?? '', data: fields.get('data') ?? '{}' };
}
