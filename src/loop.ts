/** Work that is repeated until it is stopped. */

import { setTimeout as sleep } from 'node:timers/promises';

export interface LoopOptions {
  /** The pause before the first time. */
  firstMs: number;
  /** The pause after each time. */
  pauseMs: number | (() => number);
  /** The signal is aborted when the loop is stopped. */
  work(signal: AbortSignal): Promise<unknown>;
  /** Gets each error of `work`, except the one that stopping the loop causes. The loop goes on unless this function throws. */
  onError(error: unknown): void;
}

export interface Loop {
  /** Resolves when the work that was under way has ended. Rejects if `onError` threw an error. */
  stop(): Promise<void>;
}

/** A loop that breaks by itself ends the process, because nobody would miss it. */
export function startLoop({ firstMs, pauseMs, work, onError }: LoopOptions): Loop {
  const ending = new AbortController();
  const { signal } = ending;
  const next = typeof pauseMs === 'number' ? () => pauseMs : pauseMs;

  /** True for the reason of the signal, and for an error that has this reason as a cause, such as those of Node. */
  function isOfStop(error: unknown): boolean {
    if (!signal.aborted) return false;
    return error === signal.reason || (error instanceof Error && isOfStop(error.cause));
  }

  async function run(): Promise<void> {
    for (let pause = firstMs; ; pause = next()) {
      await sleep(pause, undefined, { signal, ref: false });
      try {
        await work(signal);
      } catch (error) {
        if (isOfStop(error)) throw error;
        onError(error);
      }
    }
  }

  const running = run().catch((error: unknown) => {
    if (!isOfStop(error)) throw error;
  });
  return {
    stop() {
      ending.abort();
      return running;
    },
  };
}
