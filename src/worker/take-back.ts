/** Takes runs back whose worker, on whichever machine, has not renewed their lease. */

import type { Logger } from 'pino';
import type { RunStore } from '../runs/run-store.ts';

const INTERVAL_MS = 15_000;
/** After a pause of this very process its own leases are renewed first. */
const LATE_MS = 5_000;

export interface TakeBackOptions {
  store: Pick<RunStore, 'takeBack'>;
  maxAttempts: number;
  log: Logger;
  /** Done each time before; its failure is logged. */
  before?: () => Promise<void>;
  intervalMs?: number;
}

export function startTakeBack(options: TakeBackOptions): { stop(): Promise<void> } {
  const { store, maxAttempts, log, before, intervalMs = INTERVAL_MS } = options;
  let dueAtMs = performance.now() + intervalMs;
  let looking: Promise<void> = Promise.resolve();

  async function look(): Promise<void> {
    try {
      await before?.();
      const taken = await store.takeBack({ all: false, maxAttempts });
      if (taken.length > 0) log.warn({ runs: taken }, 'runs taken back whose worker was silent');
    } catch (err) {
      log.warn({ err }, 'silent workers could not be looked for; it is tried again');
    }
  }

  const timer = setInterval(() => {
    const late = performance.now() - dueAtMs > LATE_MS;
    dueAtMs = performance.now() + intervalMs;
    if (!late) looking = looking.then(look);
  }, intervalMs);
  timer.unref();
  return {
    stop() {
      clearInterval(timer);
      return looking;
    },
  };
}
