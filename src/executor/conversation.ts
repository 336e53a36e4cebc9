/** Talks to one executor process about one command, from the request to the end of the command. */

import { PassThrough } from 'node:stream';
import { MustEndError } from '../errors.ts';
import type { LeftOut } from '../process/output/head-and-tail.ts';
import type { ProcessIdentity } from '../process/process-stat.ts';
import { superviseProcess } from '../process/supervise-process.ts';
import type { OutputStream } from '../runs/run-events.ts';
import { MAX_TIMER_MS, SECOND } from '../units.ts';
import { type ConversationState, createConversationState } from './conversation-state.ts';
import type { StepResult } from './executor.ts';
import { createMessageReader, ExecutorFault, type MessageReader } from './message-reader.ts';
import type { ExecMessage, LastWord, SentRequest } from './protocol.ts';

interface ConversationOptions {
  /** The executor's program and arguments. */
  argv: readonly [string, ...string[]];
  /** The environment of the executor itself. */
  environment: Readonly<Record<string, string>>;
  /** How long the executor may take to start the command. */
  startLimitMs: number;
  /** How long the executor may take beyond the time of the command. */
  endLimitMs: number;
  /** The time between TERM and KILL of the executor itself. */
  killGraceMs: number;
  /** The executor ends the command if it gets no sign of life for so long. */
  silenceMs: number;
  mask(text: string): string;
}

export interface Conversation {
  request: SentRequest;
  timeoutMs: number;
  /** The longest time between the first signal to the command and its end. */
  endingMs: number;
  signal: AbortSignal;
  /** `executor` is the process on this machine. */
  onStarted(command: ProcessIdentity, executor: ProcessIdentity): void;
  onOutput(stream: OutputStream, text: string): Promise<void> | void;
  /** Called where the executor leaves out a part of a long output. */
  onLeftOut(leftOut: LeftOut): Promise<void> | void;
  /** Called only if there is a result. */
  onResult(text: string): Promise<void> | void;
}

/** If the command must end soon, the executor gets only this time for its last answer. */
const LAST_ANSWER_MS = 5 * SECOND;
/** An executor that misses as many signs of life as this counts as hanging. */
const SIGNS = 6;

/**
 * Resolves when the executor's process has ended. To end the command, it ends the executor's stdin. That works through
 * ssh, sudo and docker, where a signal may not arrive, and lets the executor report the end of the command. Only an
 * executor that does not answer is killed. Rejects with the error of one of the given functions.
 */
export async function converse(
  options: ConversationOptions,
  conversation: Conversation,
): Promise<StepResult> {
  const { signal } = conversation;
  if (signal.aborted) return { kind: 'cancelled' };
  const giveUp = new AbortController();
  const dialogue = openDialogue(options, conversation, () => giveUp.abort(signal.reason));
  const { state, reader, input } = dialogue;
  const onAbort = (): void => endCommand(dialogue);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const end = await superviseProcess(
      {
        argv: options.argv,
        cwd: '/',
        env: { ...options.environment },
        timeoutMs: MAX_TIMER_MS,
        signal: giveUp.signal,
        killGraceMs: options.killGraceMs,
        input: input.stream,
      },
      {
        onStart: state.launch,
        onChunk: (stream, chunk) =>
          stream === 'stderr' ? state.addWords(chunk) : takeChunk(dialogue, chunk),
      },
    );
    return state.conclude(end, reader.isInside());
  } finally {
    signal.removeEventListener('abort', onAbort);
    dialogue.deadline.clear();
    input.close();
  }
}

interface Dialogue {
  options: ConversationOptions;
  conversation: Conversation;
  state: ConversationState;
  reader: MessageReader;
  input: ReturnType<typeof openInput>;
  deadline: ReturnType<typeof createDeadline>;
}

function openDialogue(
  options: ConversationOptions,
  conversation: Conversation,
  giveUp: () => void,
): Dialogue {
  const { startLimitMs, endLimitMs, mask, silenceMs } = options;
  const state = createConversationState(mask);
  const deadline = createDeadline(endLimitMs, (problem) => {
    if (problem !== null) state.fail(new ExecutorFault(problem));
    giveUp();
  });
  deadline.set(startLimitMs, `did not start the command within ${startLimitMs / SECOND} s`);
  const input = openInput(conversation.request, silenceMs);
  return { options, conversation, state, reader: createMessageReader(mask), input, deadline };
}

/** Ends the executor's stdin with the time that the command has, and waits for the end of the command. */
function endCommand({ options, conversation, state, input, deadline }: Dialogue): void {
  const reason: unknown = conversation.signal.reason;
  const limitMs = reason instanceof MustEndError ? reason.endWithinMs : null;
  input.end({ end_within_ms: limitMs });
  const { endLimitMs } = options;
  const endingMs = state.isStarted() ? conversation.endingMs : 0;
  const patienceMs =
    limitMs === null
      ? endingMs + endLimitMs
      : Math.min(endingMs, limitMs) + Math.min(endLimitMs, state.isStarted() ? LAST_ANSWER_MS : limitMs);
  deadline.set(patienceMs, 'did not end the command when it was asked to');
}

async function takeChunk(dialogue: Dialogue, chunk: Buffer): Promise<void> {
  const { state, reader, deadline } = dialogue;
  if (state.hasFailed()) return;
  deadline.pause();
  try {
    for (const message of reader.push(chunk)) await handleMessage(dialogue, message);
  } catch (error) {
    state.fail(error);
    endCommand(dialogue);
  }
  deadline.resume();
}

async function handleMessage(dialogue: Dialogue, message: ExecMessage): Promise<void> {
  const { options, conversation, state, input, deadline } = dialogue;
  const { signal, timeoutMs, endingMs } = conversation;
  switch (message.type) {
    case 'started': {
      const identities = state.start(message);
      const limitMs = timeoutMs + endingMs + options.endLimitMs;
      if (signal.aborted) endCommand(dialogue);
      else deadline.set(limitMs, 'did not end the command in time');
      return conversation.onStarted(...identities);
    }
    case 'log':
      if (message.left_out) await conversation.onLeftOut(message.left_out);
      return conversation.onOutput(message.stream, message.text);
    case 'finished':
      if (message.result !== undefined) await conversation.onResult(message.result);
      state.finish(message, signal.aborted);
      input.end({ end_within_ms: 0 });
      // An executor that does not end by itself now has not failed.
      deadline.set(options.endLimitMs, null);
  }
}

/** The executor's stdin: the request, signs of life, and the last word. */
function openInput(request: SentRequest, silenceMs: number) {
  const stream = new PassThrough();
  // The executor may end before it has read everything. Its end reports that.
  stream.on('error', () => undefined);
  stream.write(`${JSON.stringify({ ...request, attached: true, silence_ms: silenceMs })}\n`);
  const signs = setInterval(() => void (stream.writable && stream.write('\n')), silenceMs / SIGNS);
  return {
    stream,
    end(word: LastWord): void {
      if (stream.writable) stream.end(`${JSON.stringify(word)}\n`);
    },
    close(): void {
      clearInterval(signs);
      stream.destroy();
    },
  };
}

/** A time limit for the next message. `onMissed` is called with the problem, or with null if it is no failure. */
function createDeadline(endLimitMs: number, onMissed: (problem: string | null) => void) {
  let isPaused = false;
  let timer: NodeJS.Timeout | undefined;
  function set(ms: number, problem: string | null): void {
    clearTimeout(timer);
    // While our own code takes a message, the executor is not late.
    const expire = (): void => (isPaused ? set(endLimitMs, problem) : onMissed(problem));
    timer = setTimeout(expire, Math.min(ms, MAX_TIMER_MS));
  }
  return {
    set,
    pause(): void {
      isPaused = true;
    },
    resume(): void {
      isPaused = false;
    },
    clear: () => clearTimeout(timer),
  };
}
