/** Takes jobs from Redis while there are free places, and finds the jobs of dead workers. */

import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { SECOND } from '../../units.ts';
import { createJobPlaces, type JobPlaces, type JobPlacesOptions, logSetAside } from './job-places.ts';

export interface ConsumeJobsOptions extends Omit<JobPlacesOptions, 'draining' | 'givingUp'> {
  drainTimeoutMs: number;
}

interface JobConsumer {
  /** Starts no more jobs, lets running jobs end within the drain timeout, and hands the others back. Idempotent. */
  drain(): Promise<void>;
  /** Ends the waiting of a drain. */
  hurry(): void;
}

/** A cancelled job ends within about this time. */
const LONGEST_BEAT_MS = SECOND;
const LONGEST_LOOK_MS = 30 * SECOND;
const LOOK_AGAIN_MS = 100;
const RECALL_MS = SECOND;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5 * SECOND;
/** How long the last writes may take if Redis is away at the end of a drain. */
const LAST_WRITES_MS = 10 * SECOND;

/** Call it once the group exists. */
export function consumeJobs(options: ConsumeJobsOptions): JobConsumer {
  const { store, claimIdleMs, drainTimeoutMs, log } = options;
  const draining = new AbortController();
  const impatient = new AbortController();
  const givingUp = new AbortController();
  const places = createJobPlaces({ ...options, draining: draining.signal, givingUp: givingUp.signal });
  const loops = startLoops(options, places, draining.signal);
  const everyMs = Math.min(LONGEST_BEAT_MS, claimIdleMs / 4);
  const heart = repeat(options, { name: 'renewing leases', everyMs, until: givingUp.signal }, places.renew);

  async function stop(): Promise<void> {
    draining.abort();
    log.info('no more jobs are taken; the running ones may end');
    const patience = AbortSignal.any([impatient.signal, AbortSignal.timeout(drainTimeoutMs)]);
    const allEnded = async () => {
      await Promise.all(loops);
      await places.allEnded();
    };
    await Promise.race([allEnded(), patience.aborted || once(patience, 'abort')]);
    places.handBackAll();
    const last = setTimeout(() => givingUp.abort(), LAST_WRITES_MS);
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

function startLoops(options: ConsumeJobsOptions, places: JobPlaces, until: AbortSignal): Promise<void>[] {
  const lookMs = Math.min(LONGEST_LOOK_MS, options.claimIdleMs / 2);
  return [
    repeat(options, { name: 'taking jobs', everyMs: 0, until }, () => takeJobs(options, places, until)),
    repeat(options, { name: 'recalling jobs', everyMs: RECALL_MS, until }, places.recall),
    repeat(
      options,
      { name: 'looking for jobs of dead workers', everyMs: lookMs, until },
      createLook(options, places, until),
    ),
  ];
}

async function takeJobs(
  { store }: ConsumeJobsOptions,
  places: JobPlaces,
  draining: AbortSignal,
): Promise<void> {
  await places.fillAll();
  if (places.free() === 0) return places.freed();
  const waiting = store.nextEntry(draining);
  // Just before this worker began to wait, another one may have read entries for which it has no place. No new entry
  // announces them.
  const again = setTimeout(() => void places.fill().catch(() => undefined), LOOK_AGAIN_MS);
  waiting.catch(places.noteLostAnswer);
  const entry = await waiting.finally(() => clearTimeout(again));
  if (entry !== null && !draining.aborted) await places.fill([entry]);
}

/** Makes the function that looks through all entries that were idle for too long. */
function createLook(
  { store, log }: ConsumeJobsOptions,
  places: JobPlaces,
  draining: AbortSignal,
): () => Promise<void> {
  let cursor = '0-0';
  return async () => {
    do {
      const found = await store.claimIdle(cursor);
      cursor = found.cursor;
      logSetAside(log, found.setAside);
    } while (cursor !== '0-0' && !draining.aborted);
    await places.fill();
  };
}

/** Repeats `action`, at growing intervals while it fails. `everyMs` is the time from one end to the next start. */
async function repeat(
  { store, log }: ConsumeJobsOptions,
  { name, everyMs, until }: { name: string; everyMs: number; until: AbortSignal },
  action: () => Promise<void>,
): Promise<void> {
  let pauseMs = 0;
  while (!until.aborted) {
    try {
      await action();
      if (pauseMs > 0) log.info(`${name} works again`);
      pauseMs = 0;
    } catch (err) {
      if (until.aborted) return;
      // This happens after FLUSHALL, DEL or the loss of a disk. The new group starts at the first entry, because nobody knows which were read.
      const isGroupMissing = err instanceof Error && /NOGROUP/.test(err.message);
      if (isGroupMissing) await store.ensureGroup().catch(() => undefined);
      if (pauseMs === 0) log.warn({ err }, `${name} failed; it is tried again`);
      pauseMs = Math.min(Math.max(FIRST_PAUSE_MS, pauseMs * 2), LONGEST_PAUSE_MS);
    }
    const waitMs = Math.max(everyMs, pauseMs);
    if (waitMs > 0) await sleep(waitMs, undefined, { signal: until }).catch(() => undefined);
  }
}
