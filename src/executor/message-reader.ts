/** Reads the messages that an executor writes, and refuses everything else. */

import { type ExecMessage, MAX_MESSAGE_BYTES, messageSchema } from './protocol.ts';

/** The executor broke the protocol. `message` follows the words "The executor". */
export class ExecutorFault extends Error {}

export interface MessageReader {
  /** Yields the messages that this chunk completes. Throws ExecutorFault at a line that is no message, or out of order. */
  push(chunk: Buffer): Generator<ExecMessage>;
  /** True if the last message is incomplete. */
  isInside(): boolean;
}

const NEWLINE = 0x0a;
const MAX_SHOWN_CHARACTERS = 120;

/** `mask` removes secrets from a line that an error shows. */
export function createMessageReader(mask: (text: string) => string): MessageReader {
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  let phase: 'waiting' | 'running' | 'finished' = 'waiting';

  function keep(part: Buffer): void {
    pendingBytes += part.length;
    if (pendingBytes > MAX_MESSAGE_BYTES) {
      throw new ExecutorFault(`wrote more than ${MAX_MESSAGE_BYTES} bytes without the end of a line`);
    }
    if (part.length > 0) pending.push(part);
  }

  function takeLine(): string {
    const line = Buffer.concat(pending).toString();
    pending = [];
    pendingBytes = 0;
    return line;
  }

  function inOrder(message: ExecMessage): ExecMessage {
    if (phase === 'finished')
      throw new ExecutorFault(`went on with a message ${message.type} after finished`);
    const expected = phase === 'waiting' ? 'started' : 'log';
    if (message.type !== 'finished' && message.type !== expected) {
      throw new ExecutorFault(`wrote a message ${message.type} in place of ${expected}`);
    }
    phase = message.type === 'finished' ? 'finished' : 'running';
    return message;
  }

  return {
    *push(chunk) {
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
        keep(chunk.subarray(start, end));
        start = end + 1;
        yield inOrder(parse(takeLine(), mask));
      }
      keep(chunk.subarray(start));
    },
    isInside: () => pendingBytes > 0,
  };
}

function parse(line: string, mask: (text: string) => string): ExecMessage {
  try {
    return messageSchema.parse(JSON.parse(line));
  } catch {
    // The text is masked before it is cut, so that no part of a secret stays at the cut.
    const shown = JSON.stringify(mask(line).slice(0, MAX_SHOWN_CHARACTERS));
    throw new ExecutorFault(`wrote a line that is no message: ${shown}`);
  }
}
