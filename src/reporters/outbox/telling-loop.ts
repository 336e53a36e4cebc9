/** The loop of a reporter: sends what the store says was not sent yet, rests when all is sent, wakes when something changes. */

import { describeError, ReporterFailedError, StoreUnavailableError } from '../../errors.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { steadyNow } from '../../steady-clock.ts';
import { backoffMs, SECOND } from './backoff.ts';
import { createSetAside, type SetAside } from './set-aside.ts';
import { createWakeUp, sleepUntil, type WakeUp } from './wake-up.ts';

/** One that sends in the loop. When it throws, it waits alone, and longer each time; the others go on. */
export interface Teller {
  /** What it sends, for the log: "commit statuses". */
  what: string;
  /**
   * Sends what is due, but for runs set aside. Resolves to the ms until there is more to do, or to null when nothing is
   * left to send; throws what the store throws.
   */
  tellNext(aside: SetAside): Promise<number | null>;
}

export interface TellingLoopOptions {
  store: Pick<RunStore, 'watch'>;
  log: { warn(fields: object, message: string): void; error(fields: object, message: string): void };
  /**
   * Called when one of them has only failed for long, by a defect that a restart may help. Default: it ends the process
   * as unhandled.
   */
  onFailure?: ((error: ReporterFailedError) => void) | undefined;
  /** In the order in which they have their turn. */
  tellers: readonly Teller[];
  /** Now, in ms since the epoch. */
  clock?: (() => number) | undefined;
  /** Resolves after `ms`, or as soon as `until` is due. */
  sleep?: ((ms: number, until: WakeUp) => Promise<void>) | undefined;
}

export interface TellingLoop {
  /** Looks again at once, or when the round under way is over. */
  wake(): void;
  /** Ends with the round under way. What is not told yet is told after the next start. */
  stop(): Promise<void>;
  /** Resolves when nothing stored by now is left to tell (told, or given up), or after stop. */
  idle(): Promise<void>;
}

const MAX_STORE_BACKOFF_MS = 60 * SECOND;
/** The store is read again this often, for changes that were made in another process. */
const REREAD_MS = 5 * SECOND;
/** A defect that goes on for so long does not go away by itself. */
const HOPELESS_MS = 600 * SECOND;
/** A run that writes its log wakes us many times a second; this is how often we look. */
const MIN_ROUND_MS = 100;

export function startTellingLoop(options: TellingLoopOptions): TellingLoop {
  const { store, clock = steadyNow, sleep = sleepUntil } = options;
  let isStopping = false;
  /** Ends the rest between two rounds: when something has changed, or at the end. */
  let waking = createWakeUp();
  /** Ends the least pause between two rounds: only at the end. */
  let stopping = createWakeUp();
  let waiting: Array<() => void> = [];
  const unwatch = store.watch(() => waking.wake());
  const turns = options.tellers.map((teller) => createTurn(teller, options, clock));

  /** Sends what is due. Returns the ms until the next round and what may cut them short. */
  async function round(): Promise<{ waitMs: number; until: WakeUp }> {
    // A change from here on is not part of this round, and neither is who begins to wait for idleness.
    waking = createWakeUp();
    const asking = waiting;
    waiting = [];
    const waits: number[] = [];
    for (const takeTurn of turns) {
      const waitMs = await takeTurn();
      if (waitMs !== null) waits.push(waitMs);
    }
    if (waits.length === 0) for (const resolve of asking) resolve();
    else waiting.push(...asking);
    return { waitMs: Math.min(...waits, REREAD_MS), until: waking };
  }

  async function work(): Promise<void> {
    while (!isStopping) {
      const { waitMs, until } = await round();
      const roundEnd = clock();
      await sleep(waitMs, until);
      if (isStopping || !waking.isDue) continue;
      stopping = createWakeUp();
      await sleep(Math.max(0, roundEnd + MIN_ROUND_MS - clock()), stopping);
    }
  }

  const ended = work();
  return {
    wake: () => waking.wake(),
    async stop() {
      unwatch();
      isStopping = true;
      stopping.wake();
      waking.wake();
      await ended;
      for (const resolve of waiting) resolve();
    },
    idle() {
      if (isStopping) return ended;
      return new Promise((resolve) => {
        waiting.push(resolve);
        waking.wake();
      });
    },
  };
}

/** The turn of a teller, which is left out while it waits after a failure. It never throws, unless it is hopeless. */
function createTurn(
  { what, tellNext }: Teller,
  { log, onFailure = fail }: Pick<TellingLoopOptions, 'log' | 'onFailure'>,
  clock: () => number,
): () => Promise<number | null> {
  const aside = createSetAside(what, log);
  let failures = 0;
  let retryAt = 0;
  /** Since then nothing came of it but errors that are no fault of the store. */
  let brokenSince: number | null = null;

  function noteFailure(error: unknown): number {
    failures += 1;
    const waitMs = backoffMs(SECOND, failures, MAX_STORE_BACKOFF_MS);
    retryAt = clock() + waitMs;
    const isAway = error instanceof StoreUnavailableError;
    brokenSince = isAway ? null : (brokenSince ?? clock());
    const why = isAway ? 'the store could not be read or written' : 'the runner has a defect';
    log.warn({ problem: describeError(error), waitMs }, `${what} wait: ${why}`);
    if (brokenSince !== null && clock() - brokenSince >= HOPELESS_MS)
      onFailure(new ReporterFailedError(`The ${what} cannot be sent because of a defect.`, { cause: error }));
    return waitMs;
  }

  return async function takeTurn() {
    const leftMs = retryAt - clock();
    // A longer wait is of a clock that was set back since.
    if (leftMs > 0 && leftMs <= MAX_STORE_BACKOFF_MS) return leftMs;
    try {
      const waitMs = await tellNext(aside);
      aside.judge();
      failures = 0;
      brokenSince = null;
      return waitMs;
    } catch (error) {
      return noteFailure(error);
    }
  };
}

function fail(error: unknown): never {
  throw error;
}
