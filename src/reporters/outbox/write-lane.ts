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
  /** Makes a lane for one repository. Its problems hold up no other repository. The limits and the host are shared. */
  ofRepository(): WriteLane;
  /** Makes a lane for one kind of write to the repository. Its problems hold up no other kind. */
  ofKind(): WriteLane;
  /** True while the repository, or this kind of write to it, waits for a problem of its own. */
  isPaused(): boolean;
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
/** The scopes of a failure that concerns more than one write, the widest first. */
const SCOPES: readonly RetryOutcome['scope'][] = ['everything', 'repository', 'kind'];
/** The part of each limit that pending states may use. The rest is reserved for final states, which are promised. */
const PENDING_SHARE = 0.75;
const MAX_BACKOFF_MS = 15 * MINUTE;
/** No wait is longer. A time further ahead comes from a clock that was set back since. */
const LONGEST_WAIT_MS = 2 * DAY;

export function createWriteLane(options: WriteLaneOptions): WriteLane {
  const { clock = steadyNow, random = Math.random, maxBackoffMs = MAX_BACKOFF_MS } = options;
  const pace = createPace(options);
  const host = noPause();

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

  function createLane(repository: Pause, kind: Pause): WriteLane {
    const pauses = { target: noPause(), kind, repository, everything: host };
    const isAhead = (at: number): boolean => at > clock() && at - clock() <= LONGEST_WAIT_MS;
    return {
      now: clock,
      earliest({ promised, notBefore }) {
        const waits = [host.until, repository.until, kind.until, notBefore].filter(isAhead);
        return Math.max(pace.earliest(clock(), promised), ...waits);
      },
      record(outcome) {
        const concerned = outcome.kind === 'retry' && outcome.scope !== 'target' ? outcome : null;
        if (outcome.kind !== 'retry' || !outcome.isUnsent) {
          pace.record(clock());
          const works = SCOPES.slice(0, concerned ? SCOPES.indexOf(concerned.scope) : undefined);
          // A failure that concerns less shows that everything wider works again.
          for (const scope of works) pauses[scope].failures = 0;
        }
        if (concerned) extend(pauses[concerned.scope], concerned.afterMs);
      },
      // If the problem is wider than one target, the lane's own pause grows. It ends with this process, since a restart may
      // help. The report then stores only the wait that the host asked for.
      retryAt: ({ scope, afterMs }, failures) =>
        scope === 'target' ? timeAfter(failures, afterMs) : timeIn(afterMs),
      ofRepository: () => createLane(noPause(), noPause()),
      ofKind: () => createLane(repository, noPause()),
      isPaused: () => [repository.until, kind.until].some(isAhead),
    };
  }

  return createLane(noPause(), noPause());
}

function noPause(): Pause {
  return { until: 0, failures: 0 };
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
