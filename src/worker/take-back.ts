/** Takes back the runs whose worker has ended, for as long as this process lives, so that this needs no restart. */

import type { Logger } from 'pino';
import { type Loop, startLoop } from '../loop.ts';
import type { RunStore } from '../runs/run-store.ts';
import { SECOND } from '../units.ts';
import { endStepsOf, listPids } from './recover.ts';

const INTERVAL_MS = 15 * SECOND;
/** After a pause of this very process its own leases have to be renewed first. */
const LATE_MS = 5 * SECOND;
const MOST_RUNS = 10_000;

export interface TakeBackOptions {
  store: Pick<RunStore, 'takeBack' | 'runs' | 'processes'>;
  maxAttempts: number;
  log: Logger;
  /**
   * Returns the runs that this process works on, or null while it may be getting another one. Left out if other
   * processes use the store, too, because then only the end of a lease shows that a worker has ended.
   */
  held?: () => readonly string[] | null;
  /** Called before each look. A failure is logged. */
  before?: () => Promise<void>;
  intervalMs?: number;
}

export function startTakeBack(options: TakeBackOptions): Loop {
  const { log, before, held, intervalMs = INTERVAL_MS } = options;
  let dueAtMs = performance.now() + intervalMs;

  async function look(ending: AbortSignal): Promise<void> {
    await before?.();
    const taken = held ? await takeOwnBack(options, held, ending) : await takeSilentBack(options);
    if (taken.length > 0) log.warn({ runs: taken }, 'runs taken back that nobody worked on');
  }

  return startLoop({
    firstMs: intervalMs,
    pauseMs: intervalMs,
    async work(ending) {
      const isLate = performance.now() - dueAtMs > LATE_MS;
      try {
        if (!isLate) await look(ending);
      } finally {
        dueAtMs = performance.now() + intervalMs;
      }
    },
    onError: (err) =>
      log.warn({ err }, 'runs that nobody works on could not be looked for; it is tried again'),
  });
}

/** Serves a store that other machines use, too. Their watchdogs end the processes of their workers. */
function takeSilentBack({ store, maxAttempts }: TakeBackOptions): Promise<string[]> {
  return store.takeBack({ all: false, maxAttempts });
}

/** Serves a store that only this process uses, so nobody works on a running run that this process does not work on. */
async function takeOwnBack(
  { store, maxAttempts, log }: TakeBackOptions,
  held: () => readonly string[] | null,
  ending: AbortSignal,
): Promise<string[]> {
  const before = held();
  const running = await store.runs({ state: 'running', limit: MOST_RUNS });
  // The worker is asked before and after the read, because a run may end or start while the store is read.
  const after = held();
  if (before === null || after === null) return [];
  const ours = new Set([...before, ...after]);
  const ended: string[] = [];
  for (const { id } of running.filter((run) => !ours.has(run.id))) {
    const unkillable = await endStepsOf(store, id);
    if (unkillable.length === 0) ended.push(id);
    else
      log.error(
        { run_id: id, pids: listPids(unkillable) },
        'processes of a run cannot be ended; it waits for that',
      );
  }
  if (ended.length === 0 || ending.aborted) return [];
  return store.takeBack({ all: true, runs: ended, maxAttempts });
}
