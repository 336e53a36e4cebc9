/** Deletes regularly what is older than the retention, in small parts with pauses between them for other writes. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Loop, startLoop } from '../loop.ts';
import type { ReporterName } from '../runs/report.ts';
import type { RunStore } from '../runs/run-store.ts';
import { DAY, HOUR, SECOND } from '../units.ts';

const PAUSE_MS = 100;
/** GitHub lists the deliveries of three days. The stored deliveries of these days show which of them were missed. */
const LEAST_FOR_DELIVERIES_MS = 4 * DAY;

export interface RetentionOptions {
  store: Pick<RunStore, 'prune'>;
  retentionMs: number;
  /** The reporters that are at work: a run does not wait for a report by any other. */
  reporters: readonly ReporterName[];
  now(): number;
  log: Logger;
  /** The pause before the first time. By default 30 s, because a start has more urgent work. */
  firstMs?: number;
}

export function startRetention(options: RetentionOptions): Loop {
  const { store, retentionMs, reporters, now, log, firstMs = 30 * SECOND } = options;
  const pruneSome = () =>
    store.prune({
      before: now() - retentionMs,
      deliveriesBefore: now() - Math.max(retentionMs, LEAST_FOR_DELIVERIES_MS),
      reporters,
    });
  return startLoop({
    firstMs,
    pauseMs: HOUR,
    async work(signal) {
      while (await pruneSome()) await sleep(PAUSE_MS, undefined, { signal, ref: false });
    },
    onError: (err) => log.warn({ err }, 'old runs could not be deleted; it is tried again'),
  });
}
