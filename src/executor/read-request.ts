/** Reads the request to the isolated executor from its standard input. */

import type { Readable } from 'node:stream';
import { describeError } from '../errors.ts';
import { MAX_REQUEST_BYTES, type ParsedRequest, parseLastWord, parseRequest } from './protocol.ts';

/** Until the request is there. */
const ARRIVAL_LIMIT_MS = 60_000;
const NEWLINE = 0x0a;

export interface ReadOptions {
  stream: boolean;
  /** Aborting it refuses a request that is not there whole; the reason is a sentence. */
  signal: AbortSignal;
  onEnd(why: string, withinMs: number | null): void;
}

/**
 * Resolves to the request once it is there whole: at the end of the input, or, when it says `attached`, at the end of
 * its first line. Then `onEnd` is called when the caller says that the command is to end, with the time for that, or null
 * for as long as the request itself says; and when it goes away without a word, or is silent for too long.
 */
export function readRequest(input: Readable, { stream, signal, onEnd }: ReadOptions): Promise<ParsedRequest> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    let isAttached = false;
    let isRead = false;
    let silenceMs: number | undefined;
    let silence: NodeJS.Timeout | undefined;

    function listen(): void {
      clearTimeout(silence);
      // Its caller may stand still, or be cut off, without any end of the input to tell.
      if (silenceMs !== undefined) silence = setTimeout(leave, silenceMs).unref();
    }
    function leave(): void {
      onEnd('the caller has gone', silenceMs === undefined ? null : silenceMs / 2);
    }
    /** Empty lines are signs of life; anything else is the last word. */
    function hear(chunk: Buffer): void {
      const word = chunk.toString().trim();
      if (word === '') return void listen();
      const withinMs = parseLastWord(word);
      if (withinMs === undefined) leave();
      else onEnd('the caller has ended it', withinMs);
    }
    function settle(parsed: ParsedRequest): void {
      isRead = true;
      clearTimeout(timer);
      resolve(parsed);
    }
    function refuse(problem: string): void {
      settle({ ok: false, isJson: false, problem: `Invalid request: ${problem}` });
    }
    function parseAll(): ParsedRequest {
      try {
        return parseRequest(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)), stream);
      } catch {
        return { ok: false, isJson: false, problem: 'Invalid request: it is not UTF-8.' };
      }
    }
    const timer = setTimeout(
      () => refuse(`it did not arrive within ${ARRIVAL_LIMIT_MS / 1_000} s.`),
      ARRIVAL_LIMIT_MS,
    );

    input.on('data', (chunk: Buffer) => {
      if (isAttached) return hear(chunk);
      if (isRead) return;
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > MAX_REQUEST_BYTES) return refuse(`it is larger than ${MAX_REQUEST_BYTES} bytes.`);
      if (!stream || chunk.at(-1) !== NEWLINE) return;
      const parsed = parseAll();
      // Who waits for an answer keeps the input open: one that is refused needs no more of it.
      if (!parsed.ok) return parsed.isJson ? settle(parsed) : undefined;
      if (!parsed.request.attached) return;
      isAttached = true;
      silenceMs = parsed.request.silence_ms;
      listen();
      settle(parsed);
    });
    signal.addEventListener('abort', () => {
      if (!isRead) refuse(`${describeError(signal.reason)} before it was there.`);
    });
    const close = (): void => {
      if (isAttached) leave();
      else if (!isRead) settle(parseAll());
    };
    input.once('end', close);
    input.once('error', close);
  });
}
