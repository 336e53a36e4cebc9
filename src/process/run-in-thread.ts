/** Runs a pure function in a thread of its own, which is ended when it takes too long. */

import { Worker } from 'node:worker_threads';
import { RunnerError } from '../errors.ts';

export interface ThreadCall {
  /** Address of the module that exports the function. */
  module: string;
  function: string;
  /** Copied, as the result is: plain data only. */
  arguments: readonly unknown[];
}

/** What the thread answers. */
export type ThreadAnswer = { ok: true; result: unknown } | { ok: false; error: string };

/** The work took too long and was given up. */
export class ThreadLimitError extends RunnerError {}

/**
 * The caller says what type the result has. Throws ThreadLimitError. The arguments have to be small enough for the
 * memory that there is: V8 ends the whole process when a thread reaches its limit too fast.
 */
export async function runInThread<Result>(
  call: ThreadCall,
  { timeoutMs }: { timeoutMs: number },
): Promise<Result> {
  const extension = import.meta.filename.endsWith('.ts') ? 'ts' : 'js';
  const thread = new Worker(new URL(`./thread-entry.${extension}`, import.meta.url), {
    workerData: call,
    // What it reads is a stranger's: it gets no secret of the server.
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
