/** Deletes what is older than the retention: regularly, and in small parts with room for others between them. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { ReporterName, RunStore } from '../runs/run-store.ts';
import { DAY, HOUR, SECOND } from '../units.ts';

/** A start has better things to do first. */
const FIRST_MS = 30 * SECOND;
const INTERVAL_MS = HOUR;
const PAUSE_MS = 100;
/** GitHub lists deliveries of three days: what is known of those tells which were missed. */
const LEAST_FOR_DELIVERIES_MS = 4 * DAY;

export interface RetentionOptions {
  store: Pick<RunStore, 'prune'>;
  retentionMs: number;
  /** Those at work: a run that another was meant to tell about need not wait for it. */
  reporters: readonly ReporterName[];
  now(): number;
  log: Logger;
  /** Before the first time; default 30 s. */
  firstMs?: number;
}

export function startRetention(options: RetentionOptions): { stop(): Promise<void> } {
  const { firstMs = FIRST_MS, log } = options;
  const ending = new AbortController();
  const { signal } = ending;

  async function run(): Promise<void> {
    for (let pause = firstMs; ; pause = INTERVAL_MS) {
      await sleep(pause, undefined, { signal, ref: false });
      try {
        while (await pruneSome(options)) await sleep(PAUSE_MS, undefined, { signal, ref: false });
      } catch (error) {
        signal.throwIfAborted();
        log.warn({ err: error }, 'old runs could not be deleted; it is tried again');
      }
    }
  }

  const running = run().catch((error: unknown) => {
    // A loop that breaks by itself ends the process: it would be missed by nobody.
    if (!signal.aborted) throw error;
  });
  return {
    stop() {
      ending.abort();
      return running;
    },
  };
}

function pruneSome({ store, retentionMs, reporters, now }: RetentionOptions): Promise<boolean> {
  return store.prune({
    before: now() - retentionMs,
    deliveriesBefore: now() - Math.max(retentionMs, LEAST_FOR_DELIVERIES_MS),
    reporters,
  });
}
