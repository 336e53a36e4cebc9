/** The trigger that needs no message: the branch head is compared with the ledger, at start and regularly. */

import type { Logger } from 'pino';
import { enqueueSync } from '../runs/enqueue.ts';
import { syncGroup } from '../runs/run.ts';
import type { RunStore } from '../runs/run-store.ts';

/** A nudge waits this long for others, and for the push's own delivery to arrive. */
const NUDGE_MS = 2_000;

export interface ReconcileOptions {
  store: RunStore;
  branch: string;
  /** 0: only at start and when nudged. */
  intervalMs: number;
  due(
    scope: string,
  ): Promise<{ head: string; services: string[]; postponed: string[]; firstMeeting: boolean }>;
  log: Logger;
}

export interface Reconciler {
  /** Looks soon, for whoever noticed that something may have changed. */
  nudge(): void;
  stop(): Promise<void>;
}

/** Looks at once, then every `intervalMs`. What it finds becomes a run like any other. */
export function startReconciler(options: ReconcileOptions): Reconciler {
  const { intervalMs, log } = options;
  let timer: NodeJS.Timeout | undefined;
  let looking: Promise<void> = Promise.resolve();
  let stopped = false;

  function look(): void {
    clearTimeout(timer);
    looking = looking
      .then(() => reconcile(options))
      .catch((error: unknown) => log.warn({ err: error }, 'reconcile failed; it is tried again'))
      .then(() => {
        if (!stopped && intervalMs > 0) schedule(intervalMs);
      });
  }
  function schedule(delayMs: number): void {
    clearTimeout(timer);
    timer = setTimeout(look, delayMs);
  }
  look();
  return {
    nudge: () => {
      if (!stopped) schedule(NUDGE_MS);
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
      return looking;
    },
  };
}

async function reconcile({ store, branch, due, log }: ReconcileOptions): Promise<void> {
  const group = syncGroup(branch);
  const found = await due(group);
  if (found.firstMeeting) {
    await store.saveBaseline(group, found.head);
    log.info({ head: found.head }, 'branch met for the first time; what it holds is taken as deployed');
    return;
  }
  if (found.services.length === 0) return;
  // A run that waits or works will do it; if it fails to, the next look finds that.
  if ((await store.active(group)).length > 0) return;
  log.warn({ head: found.head, services: found.services }, 'the branch is ahead of what was synced');
  await enqueueSync(store, {
    trigger: { source: 'reconcile' },
    input: {
      branch,
      revision: found.head,
      selection: { mode: 'changed' },
      postponed: found.postponed,
      announced: found.services,
    },
  });
}
