/** Reads the runs that are left to report. */

import type { ReporterName } from '../../runs/report.ts';
import type { Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { DAY } from '../../units.ts';
import type { SetAside } from './set-aside.ts';
import type { WriteLane } from './write-lane.ts';

export interface UnreportedOptions {
  store: Pick<RunStore, 'unreported'>;
  reporter: ReporterName;
  /** The lane in which the run is reported, or null if nothing is sent about it. */
  laneOf(run: Run): WriteLane | null;
}

/** If more runs are unreported, the newer ones wait. The oldest come first, so that news arrives in order. */
const MOST_RUNS = 1_000;
/** Nobody waits for news of a run that ended this long ago. */
const LONG_MS = 3 * DAY;
const SETTLED_TOGETHER = 50;
/** No more is read at once. */
const MOST_PAGES = 20;

/**
 * Returns the oldest runs that are left to report. If there are very many, the runs of a repository that takes nothing
 * now leave their place to those of others, and only its oldest one stays.
 */
export async function readUnreported({ store, reporter, laneOf }: UnreportedOptions): Promise<Run[]> {
  const found: Run[] = [];
  const paused = new Set<WriteLane>();
  let after: string | undefined;
  for (let page = 0; page < MOST_PAGES && found.length < MOST_RUNS; page += 1) {
    const runs = await store.unreported(reporter, MOST_RUNS, after);
    if (page === 0 && runs.length < MOST_RUNS) return runs;
    for (const run of runs) {
      const lane = pausedLane(run, laneOf);
      if (lane === null || !paused.has(lane)) found.push(run);
      if (lane !== null) paused.add(lane);
    }
    after = runs.at(-1)?.id;
    if (runs.length < MOST_RUNS) break;
  }
  return found.slice(0, MOST_RUNS);
}

/** Settles runs that have nothing left to report, a few at a time, so that no other write waits for long. */
export async function settleRuns(
  { store }: { store: Pick<RunStore, 'settleRun'> },
  reporter: ReporterName,
  runs: readonly Run[],
  aside: SetAside,
): Promise<void> {
  for (let from = 0; from < runs.length; from += SETTLED_TOGETHER) {
    const some = runs.slice(from, from + SETTLED_TOGETHER);
    // The store commits them together.
    await Promise.all(some.map((run) => aside.guard(run, () => store.settleRun(reporter, run.id))));
  }
  // A reporter that has nothing to send, because it is off, works as well.
  if (runs.length > 0) aside.cameThrough();
}

/**
 * Returns true if the run ended so long ago that nothing new begins to be reported about it. A server that gets its first
 * token, for example, has many such runs.
 */
export function isLongOver({ finishedAt }: Run, now: number): boolean {
  return finishedAt !== null && now - finishedAt > LONG_MS;
}

/** Returns null if the run need not wait. A run that is damaged is for the reporter to meet. */
function pausedLane(run: Run, laneOf: UnreportedOptions['laneOf']): WriteLane | null {
  try {
    const lane = laneOf(run);
    return lane?.isPaused() ? lane : null;
  } catch {
    return null;
  }
}
