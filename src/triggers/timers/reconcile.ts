/** The trigger that needs no message: the branch head is compared with the ledger, at start and regularly. */

import type { Logger } from 'pino';
import { enqueueSync } from '../../runs/enqueue.ts';
import { syncGroup } from '../../runs/kinds/sync.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { MINUTE } from '../../units.ts';

/** A nudge waits this long for others, and for the push's own delivery to arrive. */
const NUDGE_MS = 2_000;
/** When the branch could not be looked at, and there is no interval to wait for. */
const RETRY_MS = MINUTE;

export interface ReconcileOptions {
  store: RunStore;
  branch: string;
  /** 0: only at start and when nudged. */
  intervalMs: number;
  /** Told of each look. */
  onLook?: () => void;
  due(scope: string, signal: AbortSignal): Promise<DueNow>;
  log: Logger;
}

export interface DueNow {
  head: string;
  services: string[];
  postponed: string[];
  firstMeeting: boolean;
  /** Services found changed outside that were not so, or otherwise, at the last look. */
  drifts: { service: string; because: string }[];
  /** What is to be said about the place outside. */
  remarks: string[];
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
  /** The earliest of what was asked for. */
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

/** Says what stays the same once, not with every look. */
function createRemarker(log: Logger): (remarks: readonly string[]) => void {
  let before: readonly string[] = [];
  return (remarks) => {
    for (const remark of remarks) if (!before.includes(remark)) log.warn({ remark }, 'config hashes outside');
    before = remarks;
  };
}

/** Busy: a run waits or works. What it does not do, or fails to do, must still be found, so the look is repeated. */
async function reconcile(
  { store, branch, due, log }: ReconcileOptions,
  remark: (remarks: readonly string[]) => void,
  signal: AbortSignal,
): Promise<'done' | 'busy'> {
  const group = syncGroup(branch);
  if ((await store.active(group)).length > 0) return 'busy';
  const found = await due(group, signal);
  signal.throwIfAborted();
  remark(found.remarks);
  for (const { service, because } of found.drifts) log.warn({ service, because }, 'changed outside');
  if (found.firstMeeting) {
    await store.saveBaseline(group, found.head);
    log.info({ head: found.head }, 'branch met for the first time; what it holds is taken as deployed');
    return 'done';
  }
  if (found.services.length === 0) return 'done';
  // A push of its own may have come meanwhile.
  if ((await store.active(group)).length > 0) return 'busy';
  // Nothing starts once the process has begun to end.
  signal.throwIfAborted();
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
