/** The one lane on which everything is written to a host, as GitHub: its pace, and the pause while it is in trouble. */

import { backoffMs, SECOND } from './backoff.ts';
import type { SendOutcome } from './github-answer.ts';
import { createPace } from './pace.ts';

export interface WriteLaneOptions {
  /** Now, in ms since the epoch. */
  clock?: (() => number) | undefined;
  /** From 0 to 1, for jitter. */
  random?: (() => number) | undefined;
  minIntervalMs?: number | undefined;
  /** At most so many writes in each window. Left out: GitHub's. */
  limits?: readonly { windowMs: number; writes: number }[] | undefined;
  /** The longest wait after failures in a row. */
  maxBackoffMs?: number | undefined;
}

export interface WriteLane {
  now(): number;
  /** The earliest time, not before now, at which a write may start. Promised ones have room kept for them. */
  earliest(write: { promised: boolean; notBefore: number }): number;
  /** Notes what came of a write that has just ended. */
  record(outcome: SendOutcome): void;
  /** The time, in whole ms, before which the same is not tried again after `failures` in a row. */
  retryAt(outcome: Extract<SendOutcome, { kind: 'retry' }>, failures: number): number;
}

const MAX_BACKOFF_MS = 900_000;
/** No wait is longer, whoever asks for it: a time further ahead is of a clock that was set back since. */
const LONGEST_WAIT_MS = 2 * 86_400_000;

export function createWriteLane(options: WriteLaneOptions): WriteLane {
  const { clock = Date.now, random = Math.random, minIntervalMs = SECOND, limits } = options;
  const { maxBackoffMs = MAX_BACKOFF_MS } = options;
  const pace = createPace({ minIntervalMs, limits });
  /** The host as a whole is left alone until then, after so many failures in a row that were not about one target. */
  const pause = { until: 0, failures: 0 };

  function withJitter(ms: number): number {
    return Math.ceil(ms * (1 + random() / 10));
  }

  return {
    now: clock,
    earliest({ promised, notBefore }) {
      const now = clock();
      const waits = [pause.until, notBefore].filter((at) => at - now <= LONGEST_WAIT_MS);
      return Math.max(pace.earliest(now, { final: promised }), ...waits);
    },
    record(outcome) {
      pace.record(clock());
      if (outcome.kind === 'retry' && outcome.scope === 'everything') {
        pause.failures += 1;
        pause.until = clock() + withJitter(backoffMs(outcome.afterMs, pause.failures, maxBackoffMs));
      } else pause.failures = 0;
    },
    retryAt({ scope, afterMs }, failures) {
      // The growing wait ends with this process, in case a restart is the cure. What was asked for does not.
      if (scope === 'everything') return Math.ceil(clock() + afterMs);
      return Math.ceil(clock() + withJitter(backoffMs(afterMs, failures, maxBackoffMs)));
    },
  };
}
