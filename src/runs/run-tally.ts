/** The numbers of runs, for metrics. */

import type { FinalRunState, RunKind, RunState } from './run.ts';

/** The numbers of runs, now and before. */
export interface RunTally {
  /** The runs that have not ended. */
  open: { kind: RunKind; state: Exclude<RunState, FinalRunState>; runs: number }[];
  /** All runs that ever ended, even if they are deleted by now, by their duration. */
  ended: {
    kind: RunKind;
    state: FinalRunState;
    /** None of these runs took longer than this bound; null if they are above every bound. The bounds are the same for all. */
    upToSeconds: number | null;
    runs: number;
    /** The durations of all these runs together. */
    durationMs: number;
  }[];
  /** Every bound, in ascending order. */
  boundsSeconds: number[];
}
