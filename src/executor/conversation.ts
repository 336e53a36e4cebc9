/** Talks to one executor process about one command, from the request to how it ended, whatever the executor does. */

import { PassThrough } from 'node:stream';
import { MustEndError } from '../errors.ts';
import type { LeftOut } from '../process/output/head-and-tail.ts';
import type { ProcessIdentity } from '../process/process-table.ts';
import { type ProcessEnd, superviseProcess } from '../process/supervise-process.ts';
import type { StepResult } from './executor.ts';
import { createMessageReader, ExecutorFault } from './message-reader.ts';
import type { ExecMessage, LastWord, SentRequest } from './protocol.ts';

export interface ConversationOptions {
  /** The executor's program and arguments. */
  argv: readonly [string, ...string[]];
  /** The executor's own. */
  environment: Readonly<Record<string, string>>;
  /** Until it says that it has started the command. */
  startLimitMs: number;
  /** How long it may take beyond what the command is given. */
  endLimitMs: number;
  /** From TERM to KILL of the executor itself. */
  killGraceMs: number;
  /** Without a sign of life from us for so long it ends the command by itself. */
  silenceMs: number;
  mask(text: string): string;
}

export interface Conversation {
  request: SentRequest;
  timeoutMs: number;
  /** From its interrupt or TERM to the end of the command at the latest. */
  endingMs: number;
  signal: AbortSignal;
  /** `executor` is the process on this machine through which we talk. */
  onStarted(command: ProcessIdentity, executor: ProcessIdentity): void;
  onOutput(stream: 'stdout' | 'stderr', text: string): Promise<void> | void;
  /** Of a long output, the executor leaves this out here. */
  onLeftOut(leftOut: LeftOut): Promise<void> | void;
  /** Only when there is a result. */
  onResult(text: string): Promise<void> | void;
}

/** So much of its stderr is looked at for its last words. */
const MAX_WORDS_BYTES = 8 * 1024;
const MAX_WORDS_LINES = 3;
const MAX_WORDS_CHARACTERS = 300;
const MAX_TIMER_MS = 2 ** 31 - 1;
/** What has to end is not waited for longer than this by somebody who only wants to hear how it ended. */
const LAST_ANSWER_MS = 5_000;
/** Signs of life in the time of a silence. */
const SIGNS = 6;

/**
 * Resolves when the executor's process is gone. To end the command, its stdin is ended, which reaches through ssh, sudo
 * and docker where a signal may not, and lets it tell how that went; only one that does not answer to that is killed.
 * Rejects with what one of the functions given threw.
 */
export async function converse(
  options: ConversationOptions,
  conversation: Conversation,
): Promise<StepResult> {
  const { signal } = conversation;
  if (signal.aborted) return { kind: 'cancelled' };
  const giveUp = new AbortController();
  const state = createState(options.mask);
  const dialogue = createDialogue(options, conversation, state, () => giveUp.abort(signal.reason));
  signal.addEventListener('abort', dialogue.cancel, { once: true });
  try {
    const end = await superviseProcess(
      {
        argv: options.argv,
        cwd: '/',
        env: { ...options.environment },
        timeoutMs: MAX_TIMER_MS,
        signal: giveUp.signal,
        killGraceMs: options.killGraceMs,
        input: dialogue.input,
      },
      {
        onStart: state.launch,
        onChunk: (stream, chunk) => (stream === 'stderr' ? state.hear(chunk) : dialogue.take(chunk)),
      },
    );
    return state.conclude(end, dialogue.isInsideMessage());
  } finally {
    signal.removeEventListener('abort', dialogue.cancel);
    dialogue.close();
  }
}

/** Our side of it: what is written, what is done at each message, and how long we wait for the next. */
function createDialogue(
  { startLimitMs, endLimitMs, silenceMs, mask }: ConversationOptions,
  { request, timeoutMs, endingMs, signal, ...takers }: Conversation,
  state: State,
  giveUp: () => void,
) {
  const input = new PassThrough();
  const reader = createMessageReader(mask);
  let isBusy = false;
  let timer: NodeJS.Timeout | undefined;

  /** Null: it is no failure when that time is up. */
  function wait(ms: number, problem: string | null): void {
    clearTimeout(timer);
    timer = setTimeout(
      () => {
        // Who takes the output holds it up: that is not the executor's silence.
        if (isBusy) return wait(endLimitMs, problem);
        if (problem !== null) state.fail(new ExecutorFault(problem));
        giveUp();
      },
      Math.min(ms, MAX_TIMER_MS),
    );
  }
  function cancel(): void {
    const reason: unknown = signal.reason;
    const limitMs = reason instanceof MustEndError ? reason.endWithinMs : null;
    sayLast({ end_within_ms: limitMs });
    wait(patienceMs(limitMs), 'did not end the command when it was told to');
  }
  function patienceMs(limitMs: number | null): number {
    if (limitMs === null) return endLimitMs + (state.isStarted() ? endingMs : 0);
    if (!state.isStarted()) return Math.min(endLimitMs, limitMs);
    return Math.min(endingMs, limitMs) + Math.min(endLimitMs, LAST_ANSWER_MS);
  }
  function sayLast(word: LastWord): void {
    if (input.writable) input.end(`${JSON.stringify(word)}\n`);
  }
  async function heed(message: ExecMessage): Promise<void> {
    switch (message.type) {
      case 'started': {
        const identities = state.start(message);
        if (signal.aborted) cancel();
        else wait(timeoutMs + endingMs + endLimitMs, 'did not end the command in time');
        return takers.onStarted(...identities);
      }
      case 'log':
        if (message.left_out) await takers.onLeftOut(message.left_out);
        return takers.onOutput(message.stream, message.text);
      case 'finished':
        if (message.result !== undefined) await takers.onResult(message.result);
        state.finish(message, signal.aborted);
        sayLast({ end_within_ms: 0 });
        wait(endLimitMs, null);
    }
  }

  wait(startLimitMs, `did not start the command within ${startLimitMs / 1_000} s`);
  // It may have gone before it has read everything: its end tells.
  input.on('error', () => undefined);
  input.write(`${JSON.stringify({ ...request, attached: true, silence_ms: silenceMs })}\n`);
  const signs = setInterval(() => void (input.writable && input.write('\n')), silenceMs / SIGNS);
  return {
    input,
    cancel,
    async take(chunk: Buffer): Promise<void> {
      if (state.hasFailed()) return;
      isBusy = true;
      try {
        for (const message of reader.push(chunk)) await heed(message);
      } catch (error) {
        state.fail(error);
        cancel();
      }
      isBusy = false;
    },
    isInsideMessage: () => reader.isInside(),
    close(): void {
      clearTimeout(timer);
      clearInterval(signs);
      input.destroy();
    },
  };
}

type State = ReturnType<typeof createState>;

/** What is known so far; its functions say what may follow. */
function createState(mask: (text: string) => string) {
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
      const isOurWish = isCancelled || end.kind !== 'cancelled';
      result = isOurWish ? end : { kind: 'lost', message: mask(`The executor gave up the command: ${why}`) };
    },
    /** The first failure counts. */
    fail(error: unknown): void {
      failure ??= { error };
    },
    hasFailed: () => failure !== null,
    hear(chunk: Buffer): void {
      words = Buffer.concat([words, chunk]).subarray(-MAX_WORDS_BYTES);
    },
    conclude(end: ProcessEnd, isInsideMessage: boolean): StepResult {
      if (failure !== null && !(failure.error instanceof ExecutorFault)) throw failure.error;
      if (failure === null && result !== null) return result;
      const problem =
        failure?.error instanceof ExecutorFault ? failure.error.message : endOf(end, isInsideMessage);
      const lines = mask(words.toString()).trim().split('\n').slice(-MAX_WORDS_LINES);
      const last = lines
        .map((line) => line.trim())
        .join('; ')
        .slice(-MAX_WORDS_CHARACTERS);
      return { kind: 'lost', message: `The executor ${problem}${last === '' ? '' : `: ${last}`}` };
    },
  };
}

function endOf(end: ProcessEnd, isInsideMessage: boolean): string {
  const when = isInsideMessage ? 'in the middle of a message' : 'before it told how the command ended';
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
