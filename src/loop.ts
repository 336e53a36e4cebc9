/** Work that is repeated until it is stopped. */

import { setTimeout as sleep } from 'node:timers/promises';

export interface LoopOptions {
  /** The pause before the first time. */
  firstMs: number;
  /** The pause after each time. */
  pauseMs: number | (() => number);
  /** The signal is aborted when the loop is stopped. */
  work(signal: AbortSignal): Promise<unknown>;
  /** Gets each error of `work`. The loop goes on unless this function throws. */
  onError(error: unknown): void;
}

export interface Loop {
  /** Resolves when the work that was under way has ended. */
  stop(): Promise<void>;
}

/** A loop that breaks by itself ends the process, because nobody would miss it. */
export function startLoop({ firstMs, pauseMs, work, onError }: LoopOptions): Loop {
  const ending = new AbortController();
  const { signal } = ending;
  const next = typeof pauseMs === 'number' ? () => pauseMs : pauseMs;

  async function run(): Promise<void> {
    for (let pause = firstMs; ; pause = next()) {
      await sleep(pause, undefined, { signal, ref: false });
      try {
        await work(signal);
      } catch (error) {
        signal.throwIfAborted();
        onError(error);
      }
    }
  }

  const running = run().catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
  return {
    stop() {
      ending.abort();
      return running;
    },
  };
}
