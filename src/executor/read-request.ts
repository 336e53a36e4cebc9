/** Reads the request to the isolated executor from its standard input. */

import type { Readable } from 'node:stream';
import { MAX_REQUEST_BYTES, type ParsedRequest, parseRequest } from './protocol.ts';

/** Until the request is there. */
const ARRIVAL_LIMIT_MS = 60_000;
const NEWLINE = 0x0a;

/**
 * Resolves to the request once it is there whole: at the end of the input, or, when it says `attached`, at the end of
 * its first line. `onDetached` is called when the input of an attached request ends, goes on, or is silent for too long.
 */
export function readRequest(
  input: Readable,
  { stream, onDetached }: { stream: boolean; onDetached(): void },
): Promise<ParsedRequest> {
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
      if (silenceMs !== undefined) silence = setTimeout(onDetached, silenceMs).unref();
    }
    function settle(parsed: ParsedRequest): void {
      isRead = true;
      clearTimeout(timer);
      resolve(parsed);
    }
    function refuse(problem: string): void {
      settle({ ok: false, problem: `Invalid request: ${problem}` });
    }
    function parseAll(): ParsedRequest {
      try {
        return parseRequest(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks)), stream);
      } catch {
        return { ok: false, problem: 'Invalid request: it is not UTF-8.' };
      }
    }
    const timer = setTimeout(
      () => refuse(`it did not arrive within ${ARRIVAL_LIMIT_MS / 1_000} s.`),
      ARRIVAL_LIMIT_MS,
    );

    input.on('data', (chunk: Buffer) => {
      if (isAttached) return chunk.every((byte) => byte === NEWLINE) ? listen() : onDetached();
      if (isRead) return;
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > MAX_REQUEST_BYTES) return refuse(`it is larger than ${MAX_REQUEST_BYTES} bytes.`);
      if (!stream || chunk.at(-1) !== NEWLINE) return;
      const parsed = parseAll();
      if (!parsed.ok || !parsed.request.attached) return;
      isAttached = true;
      silenceMs = parsed.request.silence_ms;
      listen();
      settle(parsed);
    });
    const onEnd = (): void => {
      if (isAttached) onDetached();
      else if (!isRead) settle(parseAll());
    };
    input.once('end', onEnd);
    input.once('error', onEnd);
  });
}
