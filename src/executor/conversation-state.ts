/** The facts that a conversation knows about the executor and its command, and the result that follows from them. */

import type { ProcessIdentity } from '../process/process-stat.ts';
import type { ProcessEnd } from '../process/supervise-process.ts';
import { KIBIBYTE } from '../units.ts';
import type { StepResult } from './executor.ts';
import { ExecutorFault } from './message-reader.ts';
import type { ExecMessage } from './protocol.ts';

/** The end of the executor's stderr is shown if the executor fails. */
const MAX_WORDS_BYTES = 8 * KIBIBYTE;
const MAX_WORDS_LINES = 3;
const MAX_WORDS_CHARACTERS = 300;

export type ConversationState = ReturnType<typeof createConversationState>;

export function createConversationState(mask: (text: string) => string) {
  let executor: ProcessIdentity | null = null;
  let started = false;
  let result: StepResult | null = null;
  let failure: { error: unknown } | null = null;
  let words = Buffer.alloc(0);

  return {
    launch(identity: ProcessIdentity): void {
      executor = identity;
    },
    start({ pid, start_ticks: startTicks }: Extract<ExecMessage, { type: 'started' }>) {
      started = true;
      const command = { pid, startTicks };
      return [command, executor ?? command] as const;
    },
    isStarted: () => started,
    finish({ end, error_msg: why }: Extract<ExecMessage, { type: 'finished' }>, isCancelled: boolean): void {
      const isWanted = isCancelled || end.kind !== 'cancelled';
      result = isWanted ? end : { kind: 'lost', message: mask(`The executor gave up the command: ${why}`) };
    },
    /** The first failure counts. */
    fail(error: unknown): void {
      failure ??= { error };
    },
    hasFailed: () => failure !== null,
    addWords(chunk: Buffer): void {
      words = Buffer.concat([words, chunk]).subarray(-MAX_WORDS_BYTES);
    },
    conclude(end: ProcessEnd, isInsideMessage: boolean): StepResult {
      if (failure !== null && !(failure.error instanceof ExecutorFault)) throw failure.error;
      if (failure === null && result !== null) return result;
      const fault = failure?.error instanceof ExecutorFault ? failure.error.message : null;
      const problem = fault ?? endOf(end, isInsideMessage);
      return { kind: 'lost', message: `The executor ${problem}${lastLines(mask(words.toString()))}` };
    },
  };
}

function lastLines(stderr: string): string {
  const lines = stderr.trim().split('\n').slice(-MAX_WORDS_LINES);
  const last = lines
    .map((line) => line.trim())
    .join('; ')
    .slice(-MAX_WORDS_CHARACTERS);
  return last === '' ? '' : `: ${last}`;
}

function endOf(end: ProcessEnd, isInsideMessage: boolean): string {
  const when = isInsideMessage ? 'in the middle of a message' : 'before it reported how the command ended';
  switch (end.kind) {
    case 'exited':
      return `ended with exit code ${end.exitCode} ${when}`;
    case 'killed':
      return `was killed by ${end.signal} ${when}`;
    case 'not_started':
      return `could not be started: ${end.message}`;
    case 'timed_out':
    case 'cancelled':
      return `was ended ${when}`;
  }
}
