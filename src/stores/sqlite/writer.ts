/** Sends calls to the writer thread in batches. A call is answered after its commit, and fails if the thread dies. */

import { Worker } from 'node:worker_threads';
import { NonceSpentError, QueueFullError, StaleLeaseError, StoreUnavailableError } from '../../errors.ts';
import { moduleUrl } from '../../program-files.ts';
import type { WriteResult } from '../sql/run-store.ts';
import type { WriteName } from '../sql/writes.ts';
import { createTurn, giveUp, type Turn } from './turn.ts';
import type { OpenAnswer, WriteAnswer, WriteCall } from './writer-thread.ts';

export interface Writer {
  /**
   * Resolves after the fsync. A write that is not being committed after `timeoutMs` fails and is never made. A commit
   * that has started is waited for.
   */
  call<Name extends WriteName>(name: Name, values: unknown[], timeoutMs?: number): Promise<WriteResult<Name>>;
  /** False once the thread has died. */
  isAlive(): boolean;
  close(): Promise<void>;
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
  /** Absolute time after which the caller gives up, unless the write is being committed. */
  deadline: number;
  turn: Turn | null;
}

const EXPIRY_CHECK_MS = 250;

interface WriterListeners {
  onChange(runId: string, mayClaim: boolean): void;
  onFailure?: ((error: Error) => void) | undefined;
}

interface State {
  readonly thread: Worker;
  readonly pending: Map<number, Pending>;
  outgoing: WriteCall[];
  lastId: number;
  /** The reason why the thread has ended, or null while it works. */
  dead: Error | null;
  isClosing: boolean;
}

export async function startWriter(
  data: { directory: string; file: string },
  listeners: WriterListeners,
): Promise<Writer> {
  const thread = new Worker(moduleUrl('stores/sqlite/writer-thread'), { workerData: data });
  const state: State = {
    thread,
    pending: new Map(),
    outgoing: [],
    lastId: 0,
    dead: null,
    isClosing: false,
  };
  await opened(thread, data.directory);
  listen(state, listeners);
  const expiry = setInterval(() => expire(state.pending), EXPIRY_CHECK_MS);
  expiry.unref();
  return {
    call: (name, values, timeoutMs) => call(state, name, values, timeoutMs),
    isAlive: () => state.dead === null,
    async close() {
      clearInterval(expiry);
      state.isClosing = true;
      const ended = new Promise((resolve) => thread.once('exit', resolve));
      if (state.dead) return;
      // The message follows the batch that may be waiting for its turn.
      setImmediate(() => thread.postMessage('close'));
      await ended;
    },
  };
}

/** Settles the calls that the thread answers, and all of them when it ends. */
function listen(state: State, { onChange, onFailure }: WriterListeners): void {
  const { thread, pending } = state;
  function die(error: Error): void {
    if (!state.dead && !state.isClosing) onFailure?.(error);
    state.dead ??= error;
    rejectAll(pending, error);
  }
  thread.on('message', (answers: WriteAnswer[]) => {
    for (const answer of answers) settle(pending, answer);
    for (const answer of answers) {
      if (answer.ok) for (const runId of answer.changed) onChange(runId, answer.mayClaim);
    }
  });
  thread.on('error', (cause) =>
    die(new StoreUnavailableError('The thread that writes the store has failed.', { cause })),
  );
  thread.on('exit', () => {
    const did = state.isClosing ? 'closed it' : 'ended';
    die(new StoreUnavailableError(`The thread that writes the store has ${did}.`));
  });
}

function rejectAll(pending: Map<number, Pending>, error: Error): void {
  for (const { turn, reject } of pending.values()) {
    // The commit of this call may have been made, so the error must not say that it was not.
    const isUncertain = turn !== null && !giveUp(turn);
    reject(isUncertain ? new Error(`${error.message} It is not known whether this was written.`) : error);
  }
  pending.clear();
}

function call<Name extends WriteName>(
  state: State,
  name: Name,
  values: unknown[],
  timeoutMs: number | undefined,
): Promise<WriteResult<Name>> {
  return new Promise((resolve, reject) => {
    if (state.dead) return reject(state.dead);
    state.lastId += 1;
    const turn = timeoutMs === undefined ? null : createTurn();
    state.pending.set(state.lastId, {
      resolve: (value) => resolve(value as WriteResult<Name>),
      reject,
      deadline: performance.now() + (timeoutMs ?? Number.POSITIVE_INFINITY),
      turn,
    });
    if (state.outgoing.length === 0) {
      setImmediate(() => {
        state.thread.postMessage(state.outgoing);
        state.outgoing = [];
      });
    }
    state.outgoing.push({ id: state.lastId, name, values, turn });
  });
}

function opened(thread: Worker, directory: string): Promise<void> {
  return new Promise((resolve, reject) => {
    thread.once('error', reject);
    thread.once('message', (answer: OpenAnswer) => {
      thread.off('error', reject);
      if (answer.opened) return resolve();
      reject(
        new StoreUnavailableError(answer.message, {
          nextAction: answer.nextAction ?? `Check the data directory ${directory} and its permissions.`,
        }),
      );
    });
  });
}

function settle(pending: Map<number, Pending>, answer: WriteAnswer): void {
  const call = pending.get(answer.id);
  if (!call) return;
  pending.delete(answer.id);
  if (answer.ok) call.resolve(answer.result);
  else if (answer.failure === 'stale_lease') call.reject(new StaleLeaseError(answer.runId));
  else if (answer.failure === 'nonce_spent') call.reject(new NonceSpentError(answer.message));
  else if (answer.failure === 'queue_full') {
    call.reject(
      new QueueFullError(answer.message, {
        nextAction: 'Send it again later; see what holds up the runs, or raise QUEUE_LIMIT.',
      }),
    );
  } else if (answer.failure === 'unavailable') {
    call.reject(
      new StoreUnavailableError(`The store cannot be written: ${answer.message}.`, {
        nextAction: answer.nextAction,
      }),
    );
  } else call.reject(new Error(answer.message));
}

function expire(pending: Map<number, Pending>): void {
  const now = performance.now();
  for (const [id, call] of pending) {
    if (call.deadline > now || (call.turn && !giveUp(call.turn))) continue;
    pending.delete(id);
    call.reject(
      new StoreUnavailableError('The store did not answer in time.', {
        nextAction:
          'Try again. If that does not help, check the disk under DATA_DIR, and whether another process holds the database.',
      }),
    );
  }
}
