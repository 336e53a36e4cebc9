/** Asks GitHub which deliveries failed, so that the inbox lists them beside those that arrived. */

import type { Logger } from 'pino';
import type { FailedDeliveries, FailedDelivery } from '../../github/hook-deliveries.ts';
import type { NewDelivery } from '../../runs/delivery.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { DAY, MINUTE } from '../../units.ts';
import { shownName } from '../github/inbox.ts';

/** GitHub keeps deliveries for three days, and can send them again in that time. */
const LOOK_BACK_MS = 3 * DAY;
const LEAST_PAUSE_MS = 10 * MINUTE;

export interface MissedDeliveriesOptions {
  store: Pick<RunStore, 'recordMissed'>;
  failedDeliveries(since: number): Promise<FailedDeliveries>;
  now(): number;
  log: Logger;
}

/**
 * Returns a function that asks GitHub, at most every ten minutes however often it is called, and never rejects. The
 * pushes themselves are found by reconciliation, not here.
 */
export function createMissedDeliveries(options: MissedDeliveriesOptions): () => Promise<void> {
  const { now, log } = options;
  let notBefore = 0;
  let lastWarning = '';

  function warnOnce(message: string, fields: object): void {
    if (message !== lastWarning) log.warn(fields, message);
    lastWarning = message;
  }

  return async () => {
    if (now() < notBefore) return;
    notBefore = now() + LEAST_PAUSE_MS;
    try {
      const found = await options.failedDeliveries(now() - LOOK_BACK_MS);
      if (found.kind === 'ok') return await record(options, found.failed);
      if (found.kind === 'no_hook')
        return warnOnce('missed deliveries are not looked for: no webhook has our address', {});
      const { problem } = found;
      if (found.kind === 'unavailable')
        return warnOnce('missed deliveries could not be looked for', { problem });
      notBefore = Number.POSITIVE_INFINITY;
      log.info({ problem }, 'missed deliveries are not looked for: the token may not read webhooks');
    } catch (error) {
      log.warn({ err: error }, 'missed deliveries not stored; it is tried again');
    }
  };
}

async function record({ store, log }: MissedDeliveriesOptions, failed: FailedDelivery[]): Promise<void> {
  if (failed.length === 0) return;
  const oldestFirst = failed.toSorted((one, other) => one.deliveredAt - other.deliveredAt);
  const count = await store.recordMissed(oldestFirst.map(toDelivery));
  if (count > 0) log.warn({ count }, 'deliveries were missed');
}

function toDelivery({ deliveryId, event, statusCode, deliveredAt }: FailedDelivery): NewDelivery {
  const got = statusCode === 0 ? 'no answer' : `HTTP ${statusCode}`;
  return {
    deliveryId: deliveryId.slice(0, 100),
    event: shownName(event),
    decision: 'missed',
    detail: `GitHub got ${got} at ${new Date(deliveredAt).toISOString()}`,
    runId: null,
    request: null,
  };
}
