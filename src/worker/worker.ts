/** Claims runs and executes them, several at a time, until it is drained. */

import type { Logger } from 'pino';
import { StoreUnavailableError } from '../errors.ts';
import type { Pipelines } from '../pipelines/pipeline.ts';
import type { WorkerSign } from '../runs/fleet.ts';
import { RUN_KINDS } from '../runs/kinds/kinds.ts';
import type { RunKind } from '../runs/run.ts';
import type { RunStore } from '../runs/run-store.ts';
import { SECOND } from '../units.ts';
import { executeRun } from './execute-run.ts';

/** Every enqueue wakes the worker; this is only for what no wake-up tells. */
const POLL_MS = 5 * SECOND;

export interface WorkerOptions {
  store: RunStore;
  pipelines: Pipelines;
  /** Names this process in leases and events. */
  owner: string;
  /** How many of each kind at once. */
  limits: WorkerSign['limits'];
  /** How many of all kinds at once; left out: no other limit. */
  total?: number;
  /** Takes only runs whose labels are all among these; left out: any. */
  labels?: readonly string[] | undefined;
  /** Others work on runs of the same store. */
  isShared?: boolean;
  leaseMs: number;
  drainTimeoutMs: number;
  /** Aborted when the process begins to end: from then on nothing is claimed. */
  ending?: AbortSignal;
  /** Called with an error after which no run can be claimed any more. Default: it ends the process as unhandled. */
  onFailure?: (error: unknown) => void;
  log: Logger;
}

export interface Worker {
  /** Claims no more, lets running steps end within the drain timeout, hands the rest back. Idempotent. */
  drain(): Promise<void>;
  /** The runs worked on now. */
  runs(): string[];
  /** The same; null while a claim is under way, which may give it another. */
  held(): string[] | null;
  /** Ends a drain's patience: what still runs is ended and handed back now. */
  hurry(): void;
}

export function startWorker(options: WorkerOptions): Worker {
  const { store, owner, limits, total = Number.POSITIVE_INFINITY, labels, leaseMs, log } = options;
  const { onFailure = fail } = options;
  const draining = new AbortController();
  const stopping = new AbortController();
  const active = new Map<Promise<void>, { id: string; kind: RunKind }>();
  let pumping: Promise<void> | null = null;
  let again = false;
  /** The last claim, which was for any kind, found nothing, and the store has not hinted at anything since. */
  let isEmpty = false;
  let hints = 0;

  function pump(): void {
    again = true;
    if (draining.signal.aborted) return;
    pumping ??= claimWhileAsked()
      .catch(onFailure)
      .finally(() => {
        pumping = null;
      });
  }

  async function claimWhileAsked(): Promise<void> {
    try {
      while (again) {
        again = false;
        await claimAll();
      }
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
      // The next wake-up or poll tries again.
      log.error({ err: error }, 'could not claim a run');
    }
  }

  function kindsWithRoom(): RunKind[] {
    if (active.size >= total) return [];
    const kinds = [...active.values()].map(({ kind }) => kind);
    return RUN_KINDS.filter((kind) => {
      const under = kinds.filter((other) => other === kind).length;
      return under < limits[kind];
    });
  }

  async function claimAll(): Promise<void> {
    while (!draining.signal.aborted) {
      const kinds = kindsWithRoom();
      if (kinds.length === 0) return;
      const hintsBefore = hints;
      const claim = await store.claim({ owner, leaseMs, kinds, labels });
      if (!claim) {
        isEmpty = kinds.length === RUN_KINDS.length && hints === hintsBefore;
        return;
      }
      const execution = executeRun(
        { ...options, draining: draining.signal, stopping: stopping.signal },
        claim,
      )
        .catch(onFailure)
        .finally(() => {
          active.delete(execution);
          if (!isEmpty) pump();
        });
      active.set(execution, { id: claim.run.id, kind: claim.run.kind });
    }
  }

  const unwatch = store.watch((_runId, mayClaim) => {
    if (!mayClaim) return;
    hints += 1;
    isEmpty = false;
    if (kindsWithRoom().length > 0) pump();
  });
  const poll = setInterval(pump, POLL_MS);
  // The end may have come while everything else was started.
  if (options.ending?.aborted) claimNoMore();
  pump();

  function claimNoMore(): void {
    draining.abort(options.ending?.reason);
    unwatch();
    clearInterval(poll);
  }
  options.ending?.addEventListener('abort', claimNoMore, { once: true });

  let drained: Promise<void> | null = null;
  async function drain(): Promise<void> {
    claimNoMore();
    const deadline = setTimeout(() => stopping.abort(), options.drainTimeoutMs);
    // A claim under way still ends up in `active`, and is handed back.
    await pumping;
    while (active.size > 0) await Promise.all(active.keys());
    clearTimeout(deadline);
  }
  const runs = () => [...active.values()].map(({ id }) => id);
  return {
    drain: () => {
      drained ??= drain();
      return drained;
    },
    runs,
    held: () => (pumping === null ? runs() : null),
    hurry: () => stopping.abort(),
  };
}

function fail(error: unknown): never {
  throw error;
}
