/** Reads the request to the isolated executor from its standard input. */

import type { Readable } from 'node:stream';
import { describeError } from '../errors.ts';
import { MINUTE, SECOND } from '../units.ts';
import { MAX_REQUEST_BYTES, type ParsedRequest, parseLastWord, parseRequest } from './protocol.ts';

/** How long the request may take to arrive. */
const ARRIVAL_LIMIT_MS = MINUTE;
const NEWLINE = 0x0a;

interface ReadOptions {
  stream: boolean;
  /** An abort refuses a request that is not complete yet. The reason is a sentence. */
  signal: AbortSignal;
  /** Called when the command has to end. `withinMs` is null if it has its usual time. */
  onEnd(why: string, withinMs: number | null): void;
}

/**
 * Resolves to the request when it is complete: at the end of the input, or, if it is `attached`, at the end of its first
 * line. After an attached request `onEnd` is called when the caller ends the command, leaves, or is silent for too long.
 */
export function readRequest(input: Readable, { stream, signal, onEnd }: ReadOptions): Promise<ParsedRequest> {
  const { promise, resolve } = Promise.withResolvers<ParsedRequest>();
  const caller = watchCaller(onEnd);
  const chunks: Buffer[] = [];
  let bytes = 0;
  let phase: 'reading' | 'read' | 'attached' = 'reading';

  function settle(parsed: ParsedRequest): void {
    if (phase === 'reading') phase = 'read';
    clearTimeout(timer);
    resolve(parsed);
  }
  function refuse(problem: string): void {
    settle({ ok: false, isJson: false, problem: `Invalid request: ${problem}` });
  }
  function take(chunk: Buffer): void {
    if (phase === 'attached') return void caller.hear(chunk);
    if (phase === 'read') return;
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > MAX_REQUEST_BYTES) return void refuse(`it is larger than ${MAX_REQUEST_BYTES} bytes.`);
    if (!stream || chunk.at(-1) !== NEWLINE) return;
    const parsed = parseAll(chunks, stream);
    // A caller that waits for an answer keeps the input open, so an invalid request is refused at once.
    if (!parsed.ok) return void (parsed.isJson && settle(parsed));
    if (!parsed.request.attached) return;
    phase = 'attached';
    caller.attach(parsed.request.silence_ms);
    settle(parsed);
  }
  function close(): void {
    if (phase === 'attached') caller.leave();
    else if (phase === 'reading') settle(parseAll(chunks, stream));
  }

  const late = `it did not arrive within ${ARRIVAL_LIMIT_MS / SECOND} s.`;
  const timer = setTimeout(() => refuse(late), ARRIVAL_LIMIT_MS);
  input.on('data', take).once('end', close).once('error', close);
  signal.addEventListener('abort', () => {
    if (phase === 'reading') refuse(`${describeError(signal.reason)} before it was there.`);
  });
  return promise;
}

function parseAll(chunks: readonly Buffer[], stream: boolean): ParsedRequest {
  try {
    return parseRequest(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)), stream);
  } catch {
    return { ok: false, isJson: false, problem: 'Invalid request: it is not UTF-8.' };
  }
}

/** Watches the caller of an attached request. */
function watchCaller(onEnd: ReadOptions['onEnd']) {
  let silenceMs: number | undefined;
  let timer: NodeJS.Timeout | undefined;

  function leave(): void {
    onEnd('the caller has gone', silenceMs === undefined ? null : silenceMs / 2);
  }
  function listen(): void {
    clearTimeout(timer);
    // The caller may hang, or be cut off, while the input stays open.
    if (silenceMs !== undefined) timer = setTimeout(leave, silenceMs).unref();
  }
  return {
    attach(limitMs: number | undefined): void {
      silenceMs = limitMs;
      listen();
    },
    /** Empty lines are signs of life. Anything else is the last word. */
    hear(chunk: Buffer): void {
      const word = chunk.toString().trim();
      if (word === '') return void listen();
      const withinMs = parseLastWord(word);
      if (withinMs === undefined) leave();
      else onEnd('the caller has ended it', withinMs);
    },
    leave,
  };
}
