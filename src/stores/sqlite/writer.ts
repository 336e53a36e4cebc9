/** Calls to the writer thread: batched on the way out, answered when committed, failed when the thread dies. */

import { Worker } from 'node:worker_threads';
import { NonceSpentError, QueueFullError, StaleLeaseError, StoreUnavailableError } from '../../errors.ts';
import type { WriteResult } from '../sql/run-store.ts';
import type { WriteName } from '../sql/writes.ts';
import { createTurn, giveUp, type Turn } from './turn.ts';
import type { OpenAnswer, WriteAnswer, WriteCall } from './writer-thread.ts';

export interface Writer {
  /**
   * Resolves after the fsync. What is not being committed after `timeoutMs` is never written, and fails; the outcome of a
   * commit under way is waited for.
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

export async function startWriter(
  data: { directory: string; file: string },
  { onChange, onFailure }: WriterListeners,
): Promise<Writer> {
  const extension = import.meta.filename.endsWith('.ts') ? 'ts' : 'js';
  const thread = new Worker(new URL(`./writer-thread.${extension}`, import.meta.url), { workerData: data });
  const pending = new Map<number, Pending>();
  let outgoing: WriteCall[] = [];
  let lastId = 0;
  let dead: Error | null = null;
  let isClosing = false;

  function die(error: Error): void {
    if (!dead && !isClosing) onFailure?.(error);
    dead ??= error;
    for (const { turn, reject } of pending.values()) {
      // Its commit may have been made: nobody is to believe that it was not.
      const isUncertain = turn !== null && !giveUp(turn);
      reject(isUncertain ? new Error(`${error.message} Whether this was written is not known.`) : error);
    }
    pending.clear();
  }

  await opened(thread, data.directory);
  thread.on('message', (answers: WriteAnswer[]) => {
    for (const answer of answers) settle(pending, answer);
    for (const answer of answers) {
      if (answer.ok) for (const runId of answer.changed) onChange(runId, answer.mayClaim);
    }
  });
  thread.on('error', (cause) =>
    die(new StoreUnavailableError('The thread that writes the store has failed.', { cause })),
  );
  thread.on('exit', () =>
    die(
      new StoreUnavailableError(`The thread that writes the store has ${isClosing ? 'closed it' : 'ended'}.`),
    ),
  );
  const expiry = setInterval(() => expire(pending), EXPIRY_CHECK_MS);
  expiry.unref();

  return {
    call<Name extends WriteName>(name: Name, values: unknown[], timeoutMs?: number) {
      return new Promise<WriteResult<Name>>((resolve, reject) => {
        if (dead) return reject(dead);
        lastId += 1;
        const turn = timeoutMs === undefined ? null : createTurn();
        pending.set(lastId, {
          resolve: (value) => resolve(value as WriteResult<Name>),
          reject,
          deadline: performance.now() + (timeoutMs ?? Number.POSITIVE_INFINITY),
          turn,
        });
        if (outgoing.length === 0) {
          setImmediate(() => {
            thread.postMessage(outgoing);
            outgoing = [];
          });
        }
        outgoing.push({ id: lastId, name, values, turn });
      });
    },
    isAlive: () => dead === null,
    async close() {
      clearInterval(expiry);
      isClosing = true;
      const gone = new Promise((resolve) => thread.once('exit', resolve));
      if (dead) return;
      // After the batch that may be waiting for its turn.
      setImmediate(() => thread.postMessage('close'));
      await gone;
    },
  };
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
          'Try again; when it stays so, check the disk under DATA_DIR, and whether another process holds the database.',
      }),
    );
  }
}
