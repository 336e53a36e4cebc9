/** Keeps the lease of a run for as long as this process works on the run. */

import type { Logger } from 'pino';
import { StaleLeaseError } from '../errors.ts';
import type { Lease, RunStore } from '../runs/run-store.ts';

export interface LeaseOptions {
  store: Pick<RunStore, 'renew'>;
  leaseMs: number;
  /** True if others may take the run once its lease has ended. This process then gives the run up before that. */
  isShared?: boolean;
  log: Logger;
}

/** A lease is renewed eight times before it ends. */
const RENEWALS = 8;
/** A run whose lease could not be renewed is given up after this part of the lease. */
const GIVEN_UP_AFTER = 0.7;
/** The steps of a run that was given up must end within this part of the lease. */
const ENDING_PART = 0.2;

/** Renews the lease until the returned function is called. Calls `onLost` when another worker has it, or may soon. */
export function keepLease(
  { store, leaseMs, isShared = false, log }: LeaseOptions,
  lease: Lease,
  onLost: (error: StaleLeaseError) => void,
): () => void {
  let isReleased = false;
  let giveUp: NodeJS.Timeout | undefined;
  /** Counts from before each request, by the clock of this process: the lease in the store ends later. */
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
