/** Claims runs and executes them, several at a time, until it is drained. */

import type { Logger } from 'pino';
import { StoreUnavailableError } from '../errors.ts';
import type { Pipelines } from '../pipelines/pipeline.ts';
import type { WorkerSign } from '../runs/fleet.ts';
import { RUN_KINDS } from '../runs/kinds/kinds.ts';
import type { Run, RunKind } from '../runs/run.ts';
import type { Claim, RunStore } from '../runs/run-store.ts';
import { SECOND } from '../units.ts';
import { executeRun } from './execute-run.ts';

/** The store wakes the worker when there is a run to claim. The poll is for changes that no wake-up announces. */
const POLL_MS = 5 * SECOND;

export interface WorkerOptions {
  store: RunStore;
  pipelines: Pipelines;
  /** The name of this process in leases and events. */
  owner: string;
  /** How many runs of each kind at once. */
  limits: WorkerSign['limits'];
  /** How many runs of all kinds at once. Left out: no other limit. */
  total?: number;
  /** Takes only runs whose labels are all among these. Left out: any run. */
  labels?: readonly string[] | undefined;
  /** True if others work on runs of the same store. */
  isShared?: boolean;
  leaseMs: number;
  drainTimeoutMs: number;
  /** Aborted when the process begins to end. From then on nothing is claimed. */
  ending?: AbortSignal;
  /** Gets an error after which no run can be claimed any more. Left out: the error ends the process as unhandled. */
  onFailure?: (error: unknown) => void;
  log: Logger;
}

export interface Worker {
  /** Claims no more, lets running steps end within the drain timeout, hands the rest back. Idempotent. */
  drain(): Promise<void>;
  /** The ids of the runs that are worked on now. */
  runs(): string[];
  /** The same ids, or null while a claim is under way, which may add one. */
  held(): string[] | null;
  /** Cuts a drain short: ends and hands back now what still runs. */
  hurry(): void;
}

export function startWorker(options: WorkerOptions): Worker {
  const { store, ending, onFailure = fail } = options;
  const draining = new AbortController();
  const stopping = new AbortController();
  const places = createPlaces(options);
  const claims = createClaims(options, places, (claim) =>
    executeRun({ ...options, draining: draining.signal, stopping: stopping.signal }, claim).catch(onFailure),
  );

  const unwatch = store.watch((_runId, mayClaim) => mayClaim && claims.hint());
  const poll = setInterval(claims.start, POLL_MS);
  function claimNoMore(): void {
    claims.stop();
    draining.abort(ending?.reason);
    unwatch();
    clearInterval(poll);
  }
  // The process may have started to end while everything else was started.
  if (ending?.aborted) claimNoMore();
  else claims.start();
  ending?.addEventListener('abort', claimNoMore, { once: true });

  let drained: Promise<void> | null = null;
  async function drain(): Promise<void> {
    claimNoMore();
    const deadline = setTimeout(() => stopping.abort(), options.drainTimeoutMs);
    // A claim that is under way still takes a place, and is handed back.
    await claims.settled();
    await places.allFree();
    clearTimeout(deadline);
  }
  return {
    drain: () => {
      drained ??= drain();
      return drained;
    },
    runs: places.runs,
    held: () => (claims.isUnderWay() ? null : places.runs()),
    hurry: () => stopping.abort(),
  };
}

type Places = ReturnType<typeof createPlaces>;

/** The places for runs: which are taken, and for which kinds there is still one. */
function createPlaces({ limits, total = Number.POSITIVE_INFINITY }: WorkerOptions) {
  const taken = new Map<Promise<void>, { id: string; kind: RunKind }>();
  return {
    freeKinds(): RunKind[] {
      if (taken.size >= total) return [];
      const kinds = [...taken.values()].map(({ kind }) => kind);
      return RUN_KINDS.filter((kind) => kinds.filter((other) => other === kind).length < limits[kind]);
    },
    /** Takes a place until the execution has ended. */
    take({ id, kind }: Run, execution: Promise<void>): Promise<void> {
      const ended = execution.finally(() => taken.delete(ended));
      taken.set(ended, { id, kind });
      return ended;
    },
    runs: () => [...taken.values()].map(({ id }) => id),
    async allFree(): Promise<void> {
      while (taken.size > 0) await Promise.all(taken.keys());
    },
  };
}

/** Claims runs for the free places whenever something can perhaps be claimed. */
function createClaims(options: WorkerOptions, places: Places, execute: (claim: Claim) => Promise<void>) {
  const { store, owner, labels, leaseMs, log, onFailure = fail } = options;
  let isStopped = false;
  /** True if the last claim, which was for any kind, found nothing, and the store has given no hint since. */
  let isEmpty = false;
  let hints = 0;
  const pump = createPump(
    async () => {
      while (!isStopped && (await claimOne()));
    },
    (error) => {
      if (!(error instanceof StoreUnavailableError)) return onFailure(error);
      // The next wake-up or poll tries again.
      log.error({ err: error }, 'could not claim a run');
    },
  );

  async function claimOne(): Promise<boolean> {
    const kinds = places.freeKinds();
    if (kinds.length === 0) return false;
    const hintsBefore = hints;
    const claim = await store.claim({ owner, leaseMs, kinds, labels });
    if (claim) void places.take(claim.run, execute(claim)).finally(() => isEmpty || pump.start());
    else isEmpty = kinds.length === RUN_KINDS.length && hints === hintsBefore;
    return claim !== null;
  }

  return {
    ...pump,
    hint(): void {
      hints += 1;
      isEmpty = false;
      if (places.freeKinds().length > 0) pump.start();
    },
    stop(): void {
      isStopped = true;
    },
  };
}

/** Does the work once more if it is started while it is under way, and never twice at the same time. */
function createPump(work: () => Promise<void>, onError: (error: unknown) => void) {
  let pumping: Promise<void> | null = null;
  let again = false;
  async function pump(): Promise<void> {
    while (again) {
      again = false;
      await work();
    }
  }
  return {
    start(): void {
      again = true;
      pumping ??= pump()
        .catch(onError)
        .finally(() => {
          pumping = null;
        });
    },
    isUnderWay: () => pumping !== null,
    settled: async () => pumping,
  };
}

function fail(error: unknown): never {
  throw error;
}
