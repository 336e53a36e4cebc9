/** Runs a pure function in a thread of its own, with a time limit. */

import { Worker } from 'node:worker_threads';
import { RunnerError } from '../errors.ts';
import { moduleUrl } from '../program-files.ts';

export interface ThreadCall {
  /** The address of the module that exports the function. */
  module: string;
  function: string;
  /** Plain data only, because the arguments and the result are copied. */
  arguments: readonly unknown[];
}

/** The answer of the thread. */
export type ThreadAnswer = { ok: true; result: unknown } | { ok: false; error: string };

/** The work took too long and was stopped. */
export class ThreadLimitError extends RunnerError {}

/**
 * The caller names the type of the result. Throws ThreadLimitError. The arguments must not need much memory, because V8
 * ends the whole process if a thread reaches its limit too fast.
 */
export async function runInThread<Result>(
  call: ThreadCall,
  { timeoutMs }: { timeoutMs: number },
): Promise<Result> {
  const thread = new Worker(moduleUrl('process/thread-entry'), {
    workerData: call,
    // It reads the text of a stranger, so it gets no secret of the server.
    env: {},
  });
  const seconds = timeoutMs / 1_000;
  const { promise, resolve, reject } = Promise.withResolvers<ThreadAnswer>();
  const deadline = setTimeout(
    () => reject(new ThreadLimitError(`It takes longer than ${seconds} s.`)),
    timeoutMs,
  );
  thread.once('message', resolve);
  thread.once('error', reject);
  thread.once('exit', () => reject(new Error('The thread ended without an answer.')));
  try {
    const answer = await promise;
    if (!answer.ok) throw new Error(answer.error);
    return answer.result as Result;
  } finally {
    clearTimeout(deadline);
    await thread.terminate();
  }
}
