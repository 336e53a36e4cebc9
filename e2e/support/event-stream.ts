/** Reads a run's server-sent events as any client does. */

import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { API_TOKENS } from './runner-environment.ts';
import { PATIENCE_MS } from './until.ts';

export interface StreamMessage {
  /** Null for messages without an id, such as `end`. */
  id: number | null;
  event: string;
  data: Record<string, unknown>;
}

const dataSchema = z.record(z.string(), z.unknown());
const logSchema = z.object({
  step: z.string(),
  stream: z.enum(['stdout', 'stderr']),
  spans: z.array(z.object({ text: z.string() })),
});

export interface LogMessage {
  id: number;
  step: string;
  stream: 'stdout' | 'stderr';
  text: string;
}

export interface StreamOptions {
  /** The server's address. */
  url: string;
  runId: string;
  /** Sent as Last-Event-ID. Without it, the stream starts at the beginning. */
  lastEventId?: number;
}

/** Yields messages as they arrive. Returns when the server ends the stream, whether or not `end` was sent. */
export function readStream(options: StreamOptions): AsyncGenerator<StreamMessage> {
  return readMessages(`${options.url}/runs/${options.runId}/events`, options);
}

/** Yields the messages of any stream of the server, in the same way. */
export async function* readMessages(
  address: string,
  { lastEventId }: Pick<StreamOptions, 'lastEventId'> = {},
): AsyncGenerator<StreamMessage> {
  const resume: Record<string, string> =
    lastEventId === undefined ? {} : { 'last-event-id': `${lastEventId}` };
  const response = await fetch(address, {
    headers: { authorization: `Bearer ${API_TOKENS.viewer}`, accept: 'text/event-stream', ...resume },
    signal: AbortSignal.timeout(PATIENCE_MS),
  });
  if (!response.ok || !response.body) throw new Error(`The stream was answered ${response.status}.`);
  let rest = '';
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    const blocks = `${rest}${chunk}`.split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const message = parseBlock(block);
      if (message) yield message;
    }
  }
}

/** Returns null for a block without an event: a comment, or the time to wait before a new connection. */
function parseBlock(block: string): StreamMessage | null {
  const event = /^event: (.*)$/m.exec(block)?.[1];
  if (event === undefined) return null;
  const id = /^id: (\d+)$/m.exec(block)?.[1];
  const data: unknown = JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? 'null');
  return { id: id === undefined ? null : Number(id), event, data: dataSchema.parse(data) };
}

/** Returns the log line in the message, or null. */
export function logMessage({ id, event, data }: StreamMessage): LogMessage | null {
  if (event !== 'log' || id === null) return null;
  const { step, stream, spans } = logSchema.parse(data);
  return { id, step, stream, text: spans.map(({ text }) => text).join('') };
}

/** Reads every log line. Connects again with Last-Event-ID as often as the stream breaks off before its `end`. */
export async function* followLog(options: StreamOptions): AsyncGenerator<LogMessage> {
  let lastEventId = options.lastEventId;
  const deadline = performance.now() + PATIENCE_MS;
  while (performance.now() < deadline) {
    try {
      for await (const message of readStream({
        ...options,
        ...(lastEventId === undefined ? {} : { lastEventId }),
      })) {
        if (message.event === 'end') return;
        lastEventId = message.id ?? lastEventId;
        const log = logMessage(message);
        if (log) yield log;
      }
    } catch (error) {
      // fetch throws this error when the server is away. Like EventSource, the client tries again.
      if (!(error instanceof TypeError)) throw error;
    }
    await sleep(100);
  }
  throw new Error('The stream never reached its end.');
}
