/** How fast we may write to GitHub: one at a time, a second apart, within its limits for creating content. */

/**
 * GitHub's published limits for requests that create content: 80 a minute and 500 an hour.
 * https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
 */
const LIMITS = [
  { windowMs: 60_000, writes: 80 },
  { windowMs: 3_600_000, writes: 500 },
];
/** The part of each limit that pending states may use up. The rest is kept for final ones, which are promised. */
const PENDING_SHARE = 0.75;

export interface Pace {
  /** Notes a write that ended at `now`. */
  record(now: number): void;
  /** The earliest time, not before `now`, at which the next write may start. */
  earliest(now: number, write: { final: boolean }): number;
}

export function createPace({
  minIntervalMs,
  limits = LIMITS,
}: {
  minIntervalMs: number;
  /** Left out: GitHub's. */
  limits?: readonly { windowMs: number; writes: number }[] | undefined;
}): Pace {
  let writes: number[] = [];
  return {
    record(now) {
      // Times later than now come from a clock that was set back; keeping them would block for as long.
      writes = [...writes.filter((at) => at <= now && at > now - 3_600_000), now];
    },
    earliest(now, { final }) {
      const known = writes.filter((at) => at <= now);
      const last = known.at(-1);
      let earliest = last === undefined ? now : Math.max(now, last + minIntervalMs);
      for (const limit of limits) {
        const budget = Math.floor(limit.writes * (final ? 1 : PENDING_SHARE));
        const oldestThatMustPass = known.at(-budget);
        if (oldestThatMustPass !== undefined)
          earliest = Math.max(earliest, oldestThatMustPass + limit.windowMs);
      }
      return earliest;
    },
  };
}
