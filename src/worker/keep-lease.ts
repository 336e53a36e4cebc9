/** Keeps the lease of a run for as long as it is worked on. */

import type { Logger } from 'pino';
import { StaleLeaseError } from '../errors.ts';
import type { Lease, RunStore } from '../runs/run-store.ts';

export interface LeaseOptions {
  store: Pick<RunStore, 'renew'>;
  leaseMs: number;
  /** Others may take the run once its lease has ended: then it is given up before that. */
  isShared?: boolean;
  log: Logger;
}

/** Of a lease: how often it is renewed, after which part of it a step is ended that could not be, and how soon. */
const RENEWALS = 8;
const GIVEN_UP_AFTER = 0.7;
const ENDING_PART = 0.2;

/** Renews the lease until the returned function is called; `onLost` is told when it is, or may soon be, another's. */
export function keepLease(
  { store, leaseMs, isShared = false, log }: LeaseOptions,
  lease: Lease,
  onLost: (error: StaleLeaseError) => void,
): () => void {
  let isReleased = false;
  let giveUp: NodeJS.Timeout | undefined;
  /** By our own clock, from before each request: the store's lease ends later. */
  function holdFrom(askedAtMs: number): void {
    clearTimeout(giveUp);
    if (!isShared || isReleased) return;
    const leftMs = askedAtMs + leaseMs * GIVEN_UP_AFTER - performance.now();
    const stale = new StaleLeaseError(lease.runId, leaseMs * ENDING_PART);
    giveUp = setTimeout(() => onLost(stale), Math.max(0, leftMs));
  }
  holdFrom(performance.now());
  const timer = setInterval(() => {
    const askedAtMs = performance.now();
    store.renew(lease, leaseMs).then(
      () => holdFrom(askedAtMs),
      (error: unknown) => {
        if (error instanceof StaleLeaseError) onLost(error);
        else log.warn({ err: error, run_id: lease.runId }, 'lease not renewed, trying again');
      },
    );
  }, leaseMs / RENEWALS);
  return () => {
    isReleased = true;
    clearInterval(timer);
    clearTimeout(giveUp);
  };
}
