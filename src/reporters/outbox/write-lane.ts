/** The one lane on which everything is written to a host, as GitHub: its pace, and the pause while it is in trouble. */

import type { SendOutcome } from '../../github/github-answer.ts';
import { steadyNow } from '../../steady-clock.ts';
import { backoffMs, SECOND } from './backoff.ts';
import { createPace } from './pace.ts';

export interface WriteLaneOptions {
  /** Now, in ms since the epoch. Left out: a clock that never jumps, so that no setting of the time holds a write up. */
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
  /** A lane for one kind of writes. Its own trouble holds up no other kind; the pace and the host are shared. */
  ofKind(): WriteLane;
}

/** Something is left alone until then, after so many failures in a row. */
interface Pause {
  until: number;
  failures: number;
}

const MAX_BACKOFF_MS = 900_000;
/** No wait is longer, whoever asks for it: a time further ahead is of a clock that was set back since. */
const LONGEST_WAIT_MS = 2 * 86_400_000;

export function createWriteLane(options: WriteLaneOptions): WriteLane {
  const { clock = steadyNow, random = Math.random, minIntervalMs = SECOND, limits } = options;
  const { maxBackoffMs = MAX_BACKOFF_MS } = options;
  const pace = createPace({ minIntervalMs, limits });
  const host: Pause = { until: 0, failures: 0 };

  /** The store takes whole milliseconds only. */
  function timeIn(ms: number): number {
    return Math.ceil(clock() + ms);
  }

  function withJitter(ms: number): number {
    return ms * (1 + random() / 10);
  }

  function extend(pause: Pause, afterMs: number): void {
    pause.failures += 1;
    pause.until = timeIn(withJitter(backoffMs(afterMs, pause.failures, maxBackoffMs)));
  }

  function createLane(kind: Pause): WriteLane {
    return {
      now: clock,
      earliest({ promised, notBefore }) {
        const now = clock();
        const waits = [host.until, kind.until, notBefore].filter((at) => at - now <= LONGEST_WAIT_MS);
        return Math.max(pace.earliest(now, { final: promised }), ...waits);
      },
      record(outcome) {
        pace.record(clock());
        const scope = outcome.kind === 'retry' ? outcome.scope : 'target';
        if (outcome.kind === 'retry' && scope === 'everything') return extend(host, outcome.afterMs);
        // The host serves us again; whether it takes this kind is seen only when it was about this kind.
        host.failures = 0;
        if (outcome.kind === 'retry' && scope === 'kind') extend(kind, outcome.afterMs);
        else kind.failures = 0;
      },
      retryAt({ scope, afterMs }, failures) {
        // The growing wait ends with this process, in case a restart is the cure. What was asked for does not.
        if (scope !== 'target') return timeIn(afterMs);
        return timeIn(withJitter(backoffMs(afterMs, failures, maxBackoffMs)));
      },
      ofKind: () => createLane({ until: 0, failures: 0 }),
    };
  }

  return createLane({ until: 0, failures: 0 });
}
