/** Tells GitHub what became of every run: one serial loop over what the store says is not told yet. */

import { setTimeout as delay } from 'node:timers/promises';
import { describeError } from '../errors.ts';
import { backoffMs, SECOND } from './backoff.ts';
import { type CommentTellerOptions, createCommentTeller } from './comment-teller.ts';
import { createStatusTeller, type StatusTellerOptions } from './status-teller.ts';
import { createWriteLane, type WriteLaneOptions } from './write-lane.ts';

export interface StatusReporterOptions extends Omit<StatusTellerOptions, 'lane'>, WriteLaneOptions {
  /** How comments of pull requests are told, too; left out where there are no previews. */
  comments?: Pick<CommentTellerOptions, 'client' | 'store'>;
  /** Resolves after `ms`, or as soon as `signal` is aborted. */
  sleep?(ms: number, signal: AbortSignal): Promise<void>;
}

export interface StatusReporter {
  /** Ends the request under way and returns. What is not told yet is told after the next start. */
  stop(): Promise<void>;
  /** Resolves when nothing stored by now is left to tell (told, or given up), or after stop. */
  idle(): Promise<void>;
}

const MAX_STORE_BACKOFF_MS = 60 * SECOND;
/** The store is read again this often, for changes that were made in another process. */
const REREAD_MS = 5 * SECOND;
/** A run that writes its log wakes us many times a second; this is how often we look. */
const MIN_ROUND_MS = 100;

export function startStatusReporter(options: StatusReporterOptions): StatusReporter {
  const { store, log, clock = Date.now, sleep = sleepUntilAborted } = options;
  const lane = createWriteLane(options);
  const tellStatus = createStatusTeller({ ...options, lane });
  const tellComment = options.comments && createCommentTeller({ ...options, ...options.comments, lane });
  const stopping = new AbortController();
  let wake = new AbortController();
  let waiting: Array<() => void> = [];
  const unwatch = store.watch(() => wake.abort());
  let storeFailures = 0;

  /** Tells at most one thing, statuses first. Returns the ms until the next round, or null when nothing is left. */
  async function tellNext(): Promise<number | null> {
    const waits = [await tellStatus(), (await tellComment?.()) ?? null].filter((waitMs) => waitMs !== null);
    return waits.length > 0 ? Math.min(...waits) : null;
  }

  /** Tells what is due. Returns the ms until the next round and what may cut them short. */
  async function round(): Promise<{ waitMs: number; until: AbortSignal }> {
    // A change from here on is not part of this round, and neither is who begins to wait for idleness.
    wake = new AbortController();
    const asking = waiting;
    waiting = [];
    try {
      const waitMs = await tellNext();
      storeFailures = 0;
      if (waitMs === null) for (const resolve of asking) resolve();
      else waiting.push(...asking);
      return { waitMs: Math.min(waitMs ?? REREAD_MS, REREAD_MS), until: wake.signal };
    } catch (error) {
      waiting.push(...asking);
      storeFailures += 1;
      const waitMs = backoffMs(SECOND, storeFailures, MAX_STORE_BACKOFF_MS);
      log.warn({ problem: describeError(error), waitMs }, 'commit statuses could not be looked up or kept');
      return { waitMs, until: stopping.signal };
    }
  }

  async function work(): Promise<void> {
    while (!stopping.signal.aborted) {
      const { waitMs, until } = await round();
      const roundEnd = clock();
      await sleep(waitMs, until);
      if (wake.signal.aborted) await sleep(Math.max(0, roundEnd + MIN_ROUND_MS - clock()), stopping.signal);
    }
  }

  const ended = work();
  return {
    async stop() {
      unwatch();
      stopping.abort();
      wake.abort();
      await ended;
      for (const resolve of waiting) resolve();
    },
    idle() {
      if (stopping.signal.aborted) return ended;
      return new Promise((resolve) => {
        waiting.push(resolve);
        wake.abort();
      });
    },
  };
}

async function sleepUntilAborted(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return;
  await delay(ms, undefined, { signal }).catch(() => {});
}
