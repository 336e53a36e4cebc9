/** The loop of a reporter: sends what the store has not marked as sent, rests, and wakes when something changes. */

import { describeError, ReporterFailedError, StoreUnavailableError } from '../../errors.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { steadyNow } from '../../steady-clock.ts';
import { MINUTE, SECOND } from '../../units.ts';
import { createSetAside, type SetAside } from './set-aside.ts';
import { backoffMs } from './write-lane.ts';

/** One part of the loop. When it throws, only this part waits, and longer each time. */
export interface Sender {
  /** The name of the sent things in the log, for example "commit statuses". */
  what: string;
  /**
   * Sends what is due, except for runs that are set aside. Resolves to the ms until there is more to do, or to null if
   * nothing is left to send. Throws what the store throws.
   */
  sendNext(aside: SetAside): Promise<number | null>;
}

export interface ReporterLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface SendingLoopOptions {
  store: Pick<RunStore, 'watch'>;
  log: ReporterLog;
  /**
   * Called when a sender has done nothing but fail for ten minutes because of a defect. A restart may help, so the default
   * is to throw, which ends the process.
   */
  onFailure?: ((error: ReporterFailedError) => void) | undefined;
  /** In the order of their turns. */
  senders: readonly Sender[];
  /** Now, in ms since the epoch. */
  clock?: (() => number) | undefined;
  /** Resolves after `ms`, or as soon as `until` wakes it. */
  sleep?: ((ms: number, until: WakeUp) => Promise<void>) | undefined;
}

export interface SendingLoop {
  /** Starts a round at once, or after the current round. */
  wake(): void;
  /** Resolves when the current round has ended. Anything that is not sent yet is sent after the next start. */
  stop(): Promise<void>;
  /** Resolves when everything stored by now is sent or given up, or after `stop`. */
  idle(): Promise<void>;
}

const MAX_STORE_BACKOFF_MS = MINUTE;
/** The store is read again this often, to find changes that another process made. */
const REREAD_MS = 5 * SECOND;
/** A defect that lasts this long does not go away by itself. */
const HOPELESS_MS = 10 * MINUTE;
/** A run that writes its log wakes us many times a second. Rounds are at least this far apart. */
const MIN_ROUND_MS = 100;

export function startSendingLoop(options: SendingLoopOptions): SendingLoop {
  const { store, clock = steadyNow, sleep = sleepUntil } = options;
  let isStopping = false;
  /** Ends the rest between two rounds, because something has changed or the loop stops. */
  let waking = createWakeUp();
  /** Ends the minimum pause between two rounds, because the loop stops. */
  let stopping = createWakeUp();
  let waiting: Array<() => void> = [];
  const unwatch = store.watch(() => waking.wake());
  const turns = options.senders.map((sender) => createTurn(sender, options, clock));

  async function work(): Promise<void> {
    while (!isStopping) {
      // This round covers neither changes from now on nor callers of `idle` from now on.
      waking = createWakeUp();
      const asking = waiting;
      waiting = [];
      const waits = await takeTurns(turns);
      if (waits.length === 0) for (const resolve of asking) resolve();
      else waiting.push(...asking);
      const roundEnd = clock();
      await sleep(Math.min(...waits, REREAD_MS), waking);
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

type Turn = () => Promise<number | null>;

/** Returns the waits of the senders that have more to do. */
async function takeTurns(turns: readonly Turn[]): Promise<number[]> {
  const waits: number[] = [];
  for (const takeTurn of turns) {
    const waitMs = await takeTurn();
    if (waitMs !== null) waits.push(waitMs);
  }
  return waits;
}

/** A sender is left out while it waits after a failure. A turn throws only if `onFailure` does. */
function createTurn(
  { what, sendNext }: Sender,
  { log, onFailure = fail }: SendingLoopOptions,
  clock: () => number,
): Turn {
  const aside = createSetAside(what, log);
  let failures = 0;
  let retryAt = 0;
  /** Since when every turn has failed for another reason than the store. */
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
    // A longer wait comes from a clock that was set back since.
    if (leftMs > 0 && leftMs <= MAX_STORE_BACKOFF_MS) return leftMs;
    try {
      const waitMs = await sendNext(aside);
      aside.throwIfMany();
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

/** Ends a sleep early. The store wakes its reporters with every change, so it must cost next to nothing. */
export interface WakeUp {
  /** True once `wake` was called. */
  readonly isDue: boolean;
  /** Resolves once `wake` was called. */
  due: Promise<void>;
  wake(): void;
}

/** This costs less than an AbortController, whose abort creates an exception. */
function createWakeUp(): WakeUp {
  const { promise, resolve } = Promise.withResolvers<void>();
  const wakeUp = {
    isDue: false,
    due: promise,
    wake() {
      wakeUp.isDue = true;
      resolve();
    },
  };
  return wakeUp;
}

async function sleepUntil(ms: number, until: WakeUp): Promise<void> {
  if (ms <= 0 || until.isDue) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([promise, until.due]);
  clearTimeout(timer);
}
