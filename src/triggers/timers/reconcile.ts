/** The trigger that needs no message: it compares the branch head with the ledger, at the start and regularly. */

import type { Logger } from 'pino';
import { enqueueSync } from '../../runs/enqueue.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { type Place, placeInput, scopeOf } from '../../runs/sync/place.ts';
import { MINUTE, SECOND } from '../../units.ts';

/** A nudge waits this long for others, and for the delivery of the push itself. */
const NUDGE_MS = 2 * SECOND;
/** The pause after a failure when there is no interval. */
const RETRY_MS = MINUTE;

export interface ReconcileOptions {
  store: RunStore;
  place: Place;
  /** With 0 it looks only at the start and after a nudge. */
  intervalMs: number;
  /** Called at each look. */
  onLook?: () => void;
  due(signal: AbortSignal): Promise<DueNow>;
  log: Logger;
}

export interface DueNow {
  head: string;
  services: string[];
  postponed: string[];
  isNewBranch: boolean;
  /** Services that somebody changed outside since the last look. */
  drifts: { service: string; because: string }[];
  /** Sentences about the config hashes in Dokploy, for the log. */
  remarks: string[];
}

export interface Reconciler {
  /** Looks soon, because something may have changed. */
  nudge(): void;
  stop(): Promise<void>;
}

/** Looks at once, then every `intervalMs`. If services are due, it enqueues a run for them. */
export function startReconciler(options: ReconcileOptions): Reconciler {
  const { intervalMs, log } = options;
  let timer: NodeJS.Timeout | undefined;
  let dueAtMs = Number.POSITIVE_INFINITY;
  let looking: Promise<void> = Promise.resolve();
  const ending = new AbortController();
  const remark = createRemarker(log);

  function look(): void {
    dueAtMs = Number.POSITIVE_INFINITY;
    options.onLook?.();
    looking = looking
      .then(async () => {
        const outcome = await reconcile(options, remark, ending.signal);
        if (outcome === 'busy') schedule(NUDGE_MS);
        else if (intervalMs > 0) schedule(intervalMs);
      })
      .catch((error: unknown) => {
        if (ending.signal.aborted) return;
        log.warn({ err: error }, 'reconcile failed; it is tried again');
        schedule(intervalMs || RETRY_MS);
      });
  }
  /** If several times are given, the earliest counts. */
  function schedule(delayMs: number): void {
    const atMs = performance.now() + delayMs;
    if (ending.signal.aborted || atMs >= dueAtMs) return;
    dueAtMs = atMs;
    clearTimeout(timer);
    timer = setTimeout(look, delayMs);
  }
  look();
  return {
    nudge: () => schedule(NUDGE_MS),
    stop() {
      ending.abort();
      clearTimeout(timer);
      return looking;
    },
  };
}

/** Logs a remark once, not with every look at which it is still true. */
function createRemarker(log: Logger): (remarks: readonly string[]) => void {
  let before: readonly string[] = [];
  return (remarks) => {
    for (const remark of remarks)
      if (!before.includes(remark)) log.warn({ remark }, 'the config hashes in Dokploy have a problem');
    before = remarks;
  };
}

/** Resolves to `busy` when a run waits or works. It may fail to do what is due, so the look is repeated later. */
async function reconcile(
  { store, place, due, log }: ReconcileOptions,
  remark: (remarks: readonly string[]) => void,
  signal: AbortSignal,
): Promise<'done' | 'busy'> {
  const group = scopeOf(place);
  if ((await store.active(group)).length > 0) return 'busy';
  const found = await due(signal);
  signal.throwIfAborted();
  remark(found.remarks);
  for (const { service, because } of found.drifts) log.warn({ service, because }, 'changed outside');
  if (found.isNewBranch) {
    await store.saveBaseline(group, found.head);
    log.info({ head: found.head }, 'the branch is seen for the first time; its services count as deployed');
    return 'done';
  }
  if (found.services.length === 0) return 'done';
  // A push may have arrived in the meantime.
  if ((await store.active(group)).length > 0) return 'busy';
  // Nothing starts once the process is ending.
  signal.throwIfAborted();
  log.warn({ head: found.head, services: found.services }, 'the branch is ahead of what was synced');
  await enqueueSync(store, {
    trigger: { source: 'reconcile' },
    input: {
      ...placeInput(place),
      revision: found.head,
      selection: { mode: 'changed' },
      postponed: found.postponed,
      announced: found.services,
    },
  });
  return 'done';
}
