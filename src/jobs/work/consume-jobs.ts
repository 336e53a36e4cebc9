/** Takes jobs from Redis while there is room, keeps those that run alive, and finds what dead workers left. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import {
  type Begun,
  type JobStore,
  type SetAside,
  type StartedJob,
  UNTOUCHED_AT_ONCE,
} from '../store/job-store.ts';
import { type JobWork, type RunningJob, startJob } from './run-job.ts';

export interface ConsumeJobsOptions {
  store: JobStore;
  work: JobWork;
  /** Jobs at once in this process. */
  concurrency: number;
  /** After so long without a sign of life others take our jobs. */
  claimIdleMs: number;
  /** Of one job. */
  timeoutMs: number;
  drainTimeoutMs: number;
  now(): number;
  log: Logger;
}

export interface JobConsumer {
  /** Begins no more, lets running jobs end within the drain timeout, hands the others back. Idempotent. */
  drain(): Promise<void>;
  /** Ends a drain's patience. */
  hurry(): void;
}

/** A cancelled job ends within about this time. */
const LONGEST_BEAT_MS = 1_000;
const LONGEST_LOOK_MS = 30_000;
const LOOK_AGAIN_MS = 100;
/** Longer than any answer takes; what is worked on is touched at each beat. */
const UNTOUCHED_MS = 10_000;
const RECALL_MS = 1_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** How long the last words may take when Redis is away at the end of a drain. */
const LAST_WORDS_MS = 10_000;

/** Call once the group is there. */
export function consumeJobs(options: ConsumeJobsOptions): JobConsumer {
  const { store, concurrency, claimIdleMs, log } = options;
  const draining = new AbortController();
  const impatient = new AbortController();
  const givingUp = new AbortController();
  const active = new Set<RunningJob>();
  /** Places asked for that may yet be filled. */
  let reserved = 0;
  let roomMade = Promise.withResolvers<void>();

  function room(): number {
    return draining.signal.aborted ? 0 : Math.max(0, concurrency - active.size - reserved);
  }

  function sayAside(setAside: readonly SetAside[]): void {
    for (const aside of setAside) log.warn(aside, 'an entry of jobs:stream was set aside');
  }

  function run(started: StartedJob): void {
    const { job, lease } = started;
    log.info({ job: job.id, user: job.userId, attempt: job.attempt, entry: lease.entry }, 'job begun');
    // At its end its own place is filled again, and no more.
    const wanted = () => (draining.signal.aborted ? 0 : 1);
    const running = startJob({ ...options, wanted, givingUp: givingUp.signal }, started);
    active.add(running);
    // Begun by an answer that was on its way when the drain began.
    if (draining.signal.aborted) running.stop('draining');
    void running.ended.then((begun) => {
      active.delete(running);
      if (begun) take(begun);
      roomMade.resolve();
    });
  }

  function take({ started, setAside }: Begun): void {
    sayAside(setAside);
    for (const job of started) run(job);
  }

  /** Begins what there is room for; gives whether there may be more for whom there is room. */
  async function begin(entries: readonly string[] = []): Promise<boolean> {
    const wanted = room();
    if (wanted === 0 && entries.length === 0) return false;
    reserved += wanted;
    try {
      const begun = await store.begin(wanted, entries);
      take(begun);
      return begun.more;
    } catch (error) {
      doubt();
      throw error;
    } finally {
      reserved -= wanted;
      roomMade.resolve();
    }
  }

  /** When what was given to us, and of which we do not know, will be looked for. */
  let recallAtMs = Number.POSITIVE_INFINITY;
  function doubt(): void {
    recallAtMs = performance.now() + UNTOUCHED_MS;
  }
  /** Redis may have given entries, or begun jobs, without our getting the answer: they would wait for the idle time. */
  async function recall(): Promise<void> {
    const dueAtMs = recallAtMs;
    if (performance.now() < dueAtMs) return;
    for (let entries: string[] = [], after: string | null = null; ; after = entries.at(-1) ?? null) {
      entries = await store.untouched(UNTOUCHED_MS, after);
      const ours = new Set([...active].map(({ lease }) => lease.entry));
      const unknown = entries.filter((entry) => !ours.has(entry));
      if (unknown.length > 0) await store.recall(unknown);
      if (entries.length < UNTOUCHED_AT_ONCE) break;
    }
    if (recallAtMs === dueAtMs) recallAtMs = Number.POSITIVE_INFINITY;
    while (room() > 0 && (await begin()));
  }

  async function consume(): Promise<void> {
    while (room() > 0 && (await begin()));
    if (room() > 0) {
      const waiting = store.nextEntry(draining.signal);
      // What another worker has read without room for it, before this one waited: no entry would tell of it.
      const again = setTimeout(() => void begin().catch(() => undefined), LOOK_AGAIN_MS);
      waiting.catch(doubt);
      const entry = await waiting.finally(() => clearTimeout(again));
      if (entry !== null && !draining.signal.aborted) await begin([entry]);
      return;
    }
    roomMade = Promise.withResolvers();
    if (room() === 0 && !draining.signal.aborted) await roomMade.promise;
  }

  /** Jobs that must not go on without a lease: others may have begun them. */
  async function beat(): Promise<void> {
    const jobs = [...active];
    try {
      const healths = await store.renew(jobs.map(({ lease }) => lease));
      for (const [index, running] of jobs.entries()) running.heard(healths[index] ?? 'lost');
    } finally {
      for (const running of jobs) {
        if (performance.now() - running.renewedAt() > claimIdleMs * 0.9) running.stop('lost');
      }
    }
  }

  let cursor = '0-0';
  async function look(): Promise<void> {
    do {
      const found = await store.claimIdle(cursor);
      cursor = found.cursor;
      sayAside(found.setAside);
    } while (cursor !== '0-0' && !draining.signal.aborted);
    await begin();
  }

  const patiently = (name: string, everyMs: number, action: () => Promise<void>, until: AbortSignal) =>
    repeat({ name, everyMs, action, until, ensureGroup: store.ensureGroup, log });
  const beatMs = Math.min(LONGEST_BEAT_MS, claimIdleMs / 4);
  const loops = [
    patiently('taking jobs', 0, consume, draining.signal),
    patiently('recalling jobs', RECALL_MS, recall, draining.signal),
    patiently(
      'looking for what dead workers left',
      Math.min(LONGEST_LOOK_MS, claimIdleMs / 2),
      look,
      draining.signal,
    ),
  ];
  const heart = patiently(
    'renewing leases',
    beatMs,
    async () => {
      if (active.size > 0) await beat();
    },
    givingUp.signal,
  );

  async function stop(): Promise<void> {
    draining.abort();
    roomMade.resolve();
    const patience = AbortSignal.any([impatient.signal, AbortSignal.timeout(options.drainTimeoutMs)]);
    const allEnded = async () => {
      await Promise.all(loops);
      while (active.size > 0) await Promise.all([...active].map(({ ended }) => ended));
    };
    await Promise.race([allEnded(), aborted(patience)]);
    for (const running of active) running.stop('draining');
    const last = setTimeout(() => givingUp.abort(), LAST_WORDS_MS);
    await allEnded();
    await store.leave().catch((err: unknown) => log.warn({ err }, 'the group of runners could not be left'));
    clearTimeout(last);
    givingUp.abort();
    await heart;
  }

  let stopping: Promise<void> | null = null;
  return {
    drain() {
      stopping ??= stop();
      return stopping;
    },
    hurry: () => impatient.abort(),
  };
}

interface Repeated {
  name: string;
  /** Between the end of one time and the begin of the next. */
  everyMs: number;
  action(): Promise<void>;
  until: AbortSignal;
  ensureGroup(): Promise<void>;
  log: Logger;
}

/** Goes on whatever happens, at longer and longer intervals while it fails. */
async function repeat({ name, everyMs, action, until, ensureGroup, log }: Repeated): Promise<void> {
  let pauseMs = 0;
  while (!until.aborted) {
    try {
      await action();
      if (pauseMs > 0) log.info(`${name} works again`);
      pauseMs = 0;
    } catch (err) {
      if (until.aborted) return;
      // After FLUSHALL, DEL or a lost disk. From its first entry, as nobody knows what was read of it.
      const isGroupGone = err instanceof Error && /NOGROUP/.test(err.message);
      if (isGroupGone) await ensureGroup().catch(() => undefined);
      if (pauseMs === 0) log.warn({ err }, `${name} failed; it is tried again`);
      pauseMs = Math.min(Math.max(FIRST_PAUSE_MS, pauseMs * 2), LONGEST_PAUSE_MS);
    }
    const waitMs = Math.max(everyMs, pauseMs);
    if (waitMs > 0) await sleep(waitMs, undefined, { signal: until }).catch(() => undefined);
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
