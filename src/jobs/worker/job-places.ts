/** The places for jobs in this process: fills the free ones, and keeps the leases of running jobs alive. */

import type { Logger } from 'pino';
import { SECOND } from '../../units.ts';
import { type JobStore, type SetAside, type StartedJobs, UNTOUCHED_AT_ONCE } from '../store/job-store.ts';
import { type RunJobOptions, type RunningJob, startJob } from './run-job.ts';

export interface JobPlacesOptions extends Omit<RunJobOptions, 'wanted' | 'onLostAnswer'> {
  store: JobStore;
  /** The most jobs at the same time in this process. */
  concurrency: number;
  /** After so long without a sign of life, others take our jobs. */
  claimIdleMs: number;
  /** Aborted when no more jobs may start. */
  draining: AbortSignal;
}

export type JobPlaces = ReturnType<typeof createJobPlaces>;

/**
 * An entry that we got and did not touch for so long came with a lost answer: no answer takes this long, and the entries
 * of running jobs are touched at each renewal.
 */
const UNTOUCHED_MS = 10 * SECOND;

interface State {
  active: Set<RunningJob>;
  /** The number of places for which we asked Redis for jobs and have no answer yet. */
  reserved: number;
  placeFreed: PromiseWithResolvers<void>;
  lostAnswers: ReturnType<typeof createLostAnswers>;
}

export function createJobPlaces(options: JobPlacesOptions) {
  const { draining } = options;
  const active = new Set<RunningJob>();
  const lostAnswers = createLostAnswers(options, active);
  const state: State = { active, reserved: 0, placeFreed: Promise.withResolvers(), lostAnswers };
  draining.addEventListener('abort', () => state.placeFreed.resolve(), { once: true });
  const free = () => countFree(options, state);
  const fill = (entries: readonly string[] = []) => fillPlaces(options, state, entries);

  async function fillAll(): Promise<void> {
    while (free() > 0 && (await fill()));
  }

  return {
    free,
    /** Starts jobs in the free places. Returns true if there may be more jobs that could start. */
    fill,
    fillAll,
    /** Resolves when a place may be free. */
    async freed(): Promise<void> {
      if (free() > 0 || draining.aborted) return;
      state.placeFreed = Promise.withResolvers();
      await state.placeFreed.promise;
    },
    /** Renews the leases of the running jobs, and stops jobs without a lease, because others may have started them. */
    renew: () => renewLeases(options, [...active]),
    /** Notes that an answer of Redis was lost, which may have given us entries. */
    noteLostAnswer: lostAnswers.note,
    /** Gives back the entries of lost answers. Otherwise they would wait for the idle time. */
    async recall(): Promise<void> {
      if (await lostAnswers.recall()) await fillAll();
    },
    handBackAll(): void {
      for (const running of active) running.stop('draining');
    },
    async allEnded(): Promise<void> {
      while (active.size > 0) await Promise.all([...active].map(({ ended }) => ended));
    },
  };
}

function countFree({ concurrency, draining }: JobPlacesOptions, { active, reserved }: State): number {
  return draining.aborted ? 0 : Math.max(0, concurrency - active.size - reserved);
}

async function fillPlaces(
  options: JobPlacesOptions,
  state: State,
  entries: readonly string[],
): Promise<boolean> {
  const wanted = countFree(options, state);
  if (wanted === 0 && entries.length === 0) return false;
  state.reserved += wanted;
  try {
    const found = await options.store.start(wanted, entries);
    take(options, state, found);
    return found.more;
  } catch (error) {
    state.lostAnswers.note();
    throw error;
  } finally {
    state.reserved -= wanted;
    state.placeFreed.resolve();
  }
}

function take(options: JobPlacesOptions, state: State, found: StartedJobs): void {
  for (const running of startAll(options, state, found)) {
    state.active.add(running);
    void running.ended.then((next) => {
      state.active.delete(running);
      if (next) take(options, state, next);
      state.placeFreed.resolve();
    });
  }
}

function startAll(
  options: JobPlacesOptions,
  { lostAnswers }: State,
  { started, setAside }: StartedJobs,
): RunningJob[] {
  const { draining, log } = options;
  logSetAside(log, setAside);
  return started.map((one) => {
    const { job, lease } = one;
    log.info({ job: job.id, user: job.userId, attempt: job.attempt, entry: lease.entry }, 'job started');
    // When the job ends, only its own place is filled again.
    const wanted = () => (draining.aborted ? 0 : 1);
    const running = startJob({ ...options, wanted, onLostAnswer: lostAnswers.note }, one);
    // The drain may have started while Redis answered.
    if (draining.aborted) running.stop('draining');
    return running;
  });
}

export function logSetAside(log: Logger, setAside: readonly SetAside[]): void {
  for (const aside of setAside) log.warn(aside, 'an entry of jobs:stream was set aside');
}

async function renewLeases(
  { store, claimIdleMs }: JobPlacesOptions,
  jobs: readonly RunningJob[],
): Promise<void> {
  if (jobs.length === 0) return;
  try {
    const healths = await store.renew(jobs.map(({ lease }) => lease));
    for (const [index, running] of jobs.entries()) running.heard(healths[index] ?? 'lost');
  } finally {
    for (const running of jobs) {
      if (performance.now() - running.renewedAt() > claimIdleMs * 0.9) running.stop('lost');
    }
  }
}

/** Some time after an answer was lost, looks for the entries that Redis gave us with it. */
function createLostAnswers({ store }: JobPlacesOptions, active: ReadonlySet<RunningJob>) {
  let dueAtMs = Number.POSITIVE_INFINITY;
  return {
    note(): void {
      dueAtMs = performance.now() + UNTOUCHED_MS;
    },
    /** Returns true if it has looked. */
    async recall(): Promise<boolean> {
      const dueBeforeMs = dueAtMs;
      if (performance.now() < dueBeforeMs) return false;
      for (let entries: string[] = [], after: string | null = null; ; after = entries.at(-1) ?? null) {
        entries = await store.untouched(UNTOUCHED_MS, after);
        const ours = new Set([...active].map(({ lease }) => lease.entry));
        const unknown = entries.filter((entry) => !ours.has(entry));
        if (unknown.length > 0) await store.recall(unknown);
        if (entries.length < UNTOUCHED_AT_ONCE) break;
      }
      if (dueAtMs === dueBeforeMs) dueAtMs = Number.POSITIVE_INFINITY;
      return true;
    },
  };
}
