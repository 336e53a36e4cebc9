/** Decides when the next write to a host, such as GitHub, may start: one at a time, a second apart, within its limits. */

import type { RetryOutcome, SendOutcome } from '../../github/github-answer.ts';
import { steadyNow } from '../../steady-clock.ts';
import { DAY, HOUR, MINUTE, SECOND } from '../../units.ts';

export interface WriteLaneOptions {
  /** Now, in ms since the epoch. The default never jumps, so that nobody who sets the time holds up a write. */
  clock?: (() => number) | undefined;
  /** From 0 to 1, for jitter. */
  random?: (() => number) | undefined;
  minIntervalMs?: number | undefined;
  /** The most writes in each window. The default is GitHub's. */
  limits?: readonly { windowMs: number; writes: number }[] | undefined;
  /** The longest wait after failures in a row. */
  maxBackoffMs?: number | undefined;
}

export interface WriteLane {
  now(): number;
  /** The earliest time, not before now, at which a write may start. Part of the limits is reserved for promised writes. */
  earliest(write: { promised: boolean; notBefore: number }): number;
  /** Notes the outcome of a write that has just ended. */
  record(outcome: SendOutcome): void;
  /** The time, in whole ms, before which the same write is not tried again after `failures` in a row. */
  retryAt(outcome: RetryOutcome, failures: number): number;
  /** Makes a lane for one kind of write. Its problems hold up no other kind. The limits and the host are shared. */
  ofKind(): WriteLane;
}

/** A pause after failures in a row. */
interface Pause {
  until: number;
  failures: number;
}

/**
 * GitHub's published limits for requests that create content: 80 a minute and 500 an hour.
 * https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
 */
const LIMITS = [
  { windowMs: MINUTE, writes: 80 },
  { windowMs: HOUR, writes: 500 },
];
/** The part of each limit that pending states may use. The rest is reserved for final states, which are promised. */
const PENDING_SHARE = 0.75;
const MAX_BACKOFF_MS = 15 * MINUTE;
/** No wait is longer. A time further ahead comes from a clock that was set back since. */
const LONGEST_WAIT_MS = 2 * DAY;

export function createWriteLane(options: WriteLaneOptions): WriteLane {
  const { clock = steadyNow, random = Math.random, maxBackoffMs = MAX_BACKOFF_MS } = options;
  const pace = createPace(options);
  const host: Pause = { until: 0, failures: 0 };

  /** The store takes whole milliseconds only. */
  function timeIn(ms: number): number {
    return Math.ceil(clock() + ms);
  }

  function timeAfter(failures: number, afterMs: number): number {
    return timeIn(backoffMs(afterMs, failures, maxBackoffMs) * (1 + random() / 10));
  }

  function extend(pause: Pause, afterMs: number): void {
    pause.failures += 1;
    pause.until = timeAfter(pause.failures, afterMs);
  }

  function createLane(kind: Pause): WriteLane {
    return {
      now: clock,
      earliest({ promised, notBefore }) {
        const now = clock();
        const waits = [host.until, kind.until, notBefore].filter((at) => at - now <= LONGEST_WAIT_MS);
        return Math.max(pace.earliest(now, promised), ...waits);
      },
      record(outcome) {
        pace.record(clock());
        const scope = outcome.kind === 'retry' ? outcome.scope : 'target';
        if (outcome.kind === 'retry' && scope === 'everything') return extend(host, outcome.afterMs);
        // The host answers again. The failures of this kind are over, too, unless this failure concerns the whole kind.
        host.failures = 0;
        if (outcome.kind === 'retry' && scope === 'kind') extend(kind, outcome.afterMs);
        else kind.failures = 0;
      },
      // If the problem is wider than one target, the lane's own pause grows. It ends with this process, since a restart may
      // help. The report then stores only the wait that the host asked for.
      retryAt: ({ scope, afterMs }, failures) =>
        scope === 'target' ? timeAfter(failures, afterMs) : timeIn(afterMs),
      ofKind: () => createLane({ until: 0, failures: 0 }),
    };
  }

  return createLane({ until: 0, failures: 0 });
}

/** The wait after the nth failure in a row. It doubles up to the cap, and is never shorter than the first wait. */
export function backoffMs(firstMs: number, failures: number, capMs: number): number {
  return Math.max(firstMs, Math.min(capMs, firstMs * 2 ** (failures - 1)));
}

function createPace({ minIntervalMs = SECOND, limits = LIMITS }: WriteLaneOptions) {
  let writes: number[] = [];
  return {
    record(now: number): void {
      // Later times come from a clock that was set back since. They would block all writes until then.
      writes = [...writes.filter((at) => at <= now && at > now - HOUR), now];
    },
    earliest(now: number, promised: boolean): number {
      const known = writes.filter((at) => at <= now);
      const last = known.at(-1);
      let earliest = last === undefined ? now : Math.max(now, last + minIntervalMs);
      for (const limit of limits) {
        const budget = Math.floor(limit.writes * (promised ? 1 : PENDING_SHARE));
        const oldestThatMustPass = known.at(-budget);
        if (oldestThatMustPass !== undefined)
          earliest = Math.max(earliest, oldestThatMustPass + limit.windowMs);
      }
      return earliest;
    },
  };
}
