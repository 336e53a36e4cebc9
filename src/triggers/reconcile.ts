/** The trigger that needs no message: the branch head is compared with the ledger, at start and regularly. */

import type { Logger } from 'pino';
import { enqueueSync } from '../runs/enqueue.ts';
import { syncGroup } from '../runs/run.ts';
import type { RunStore } from '../runs/run-store.ts';

/** A nudge waits this long for others, and for the push's own delivery to arrive. */
const NUDGE_MS = 2_000;
/** When the branch could not be looked at, and there is no interval to wait for. */
const RETRY_MS = 60_000;

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
      .then(async () => {
        // Only for what it is doing now: what was pushed later, or what it fails to do, must still be found.
        const outcome = await reconcile(options);
        if (outcome === 'busy') schedule(NUDGE_MS);
        else if (intervalMs > 0) schedule(intervalMs);
      })
      .catch((error: unknown) => {
        log.warn({ err: error }, 'reconcile failed; it is tried again');
        schedule(intervalMs || RETRY_MS);
      });
  }
  function schedule(delayMs: number): void {
    clearTimeout(timer);
    if (!stopped) timer = setTimeout(look, delayMs);
  }
  look();
  return {
    nudge: () => schedule(NUDGE_MS),
    stop() {
      stopped = true;
      clearTimeout(timer);
      return looking;
    },
  };
}

/** Busy: a run waits or works, so there is nothing to say about the branch yet. */
async function reconcile({ store, branch, due, log }: ReconcileOptions): Promise<'done' | 'busy'> {
  const group = syncGroup(branch);
  if ((await store.active(group)).length > 0) return 'busy';
  const found = await due(group);
  if (found.firstMeeting) {
    await store.saveBaseline(group, found.head);
    log.info({ head: found.head }, 'branch met for the first time; what it holds is taken as deployed');
    return 'done';
  }
  if (found.services.length === 0) return 'done';
  // A push of its own may have come meanwhile.
  if ((await store.active(group)).length > 0) return 'busy';
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
  return 'done';
}
