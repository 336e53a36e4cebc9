/** Takes runs back whose worker is gone, for as long as this process lives: no restart is needed for that. */

import type { Logger } from 'pino';
import type { RunStore } from '../runs/run-store.ts';
import { SECOND } from '../units.ts';
import { endStepsOf, saidAs } from './recover.ts';

const INTERVAL_MS = 15 * SECOND;
/** After a pause of this very process its own leases are renewed first. */
const LATE_MS = 5 * SECOND;
const MOST_RUNS = 10_000;

export interface TakeBackOptions {
  store: Pick<RunStore, 'takeBack' | 'runs' | 'processes'>;
  maxAttempts: number;
  log: Logger;
  /**
   * The runs that this process works on, or null while it may just be given another. Left out when other processes work
   * on runs of the store, too: then only the end of a lease says that a worker is gone.
   */
  held?: () => readonly string[] | null;
  /** Done each time before; its failure is logged. */
  before?: () => Promise<void>;
  intervalMs?: number;
}

export function startTakeBack(options: TakeBackOptions): { stop(): Promise<void> } {
  const { log, before, held, intervalMs = INTERVAL_MS } = options;
  const ending = new AbortController();
  let dueAtMs = performance.now() + intervalMs;
  let looking: Promise<void> | null = null;

  async function look(): Promise<void> {
    try {
      await before?.();
      const taken = held ? await takeOwnBack(options, held, ending.signal) : await takeSilentBack(options);
      if (taken.length > 0) log.warn({ runs: taken }, 'runs taken back whose worker is gone');
    } catch (err) {
      log.warn({ err }, 'runs whose worker is gone could not be looked for; it is tried again');
    }
  }

  const timer = setInterval(() => {
    const late = performance.now() - dueAtMs > LATE_MS;
    dueAtMs = performance.now() + intervalMs;
    if (late) return;
    looking ??= look().finally(() => {
      looking = null;
    });
  }, intervalMs);
  timer.unref();
  return {
    async stop() {
      clearInterval(timer);
      ending.abort();
      await looking;
    },
  };
}

/** Of a store that others use, too. What their workers started is ended by the watchdogs of their machines. */
function takeSilentBack({ store, maxAttempts }: TakeBackOptions): Promise<string[]> {
  return store.takeBack({ all: false, maxAttempts });
}

/** Of a store that is only ours: a running run that this process does not work on is nobody's. */
async function takeOwnBack(
  { store, maxAttempts, log }: TakeBackOptions,
  held: () => readonly string[] | null,
  ending: AbortSignal,
): Promise<string[]> {
  const before = held();
  const running = await store.runs({ state: 'running', limit: MOST_RUNS });
  // Asked twice: before the reading it may hold one that ends meanwhile, and after it one that began meanwhile.
  const after = held();
  if (before === null || after === null) return [];
  const ours = new Set([...before, ...after]);
  const ended: string[] = [];
  for (const { id } of running.filter((run) => !ours.has(run.id))) {
    const unkillable = await endStepsOf(store, id);
    if (unkillable.length === 0) ended.push(id);
    else
      log.error(
        { run_id: id, pids: saidAs(unkillable) },
        'processes of a run cannot be ended; it waits for that',
      );
  }
  if (ended.length === 0 || ending.aborted) return [];
  return store.takeBack({ all: true, runs: ended, maxAttempts });
}
