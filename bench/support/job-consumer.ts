/** Starts a worker for jobs whose work is to do nothing, in this process or as a program of its own. */

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { openJobStore } from '../../src/jobs/store/job-store.ts';
import { consumeJobs } from '../../src/jobs/worker/consume-jobs.ts';

export interface TrivialConsumer {
  stop(): Promise<void>;
}

/** `onStarted` is called with each job when its work starts. */
export async function startTrivialConsumer(options: {
  url: string;
  name: string;
  concurrency: number;
  /** The duration of the work of a job. Default 0. */
  workMs?: number;
  onStarted?: (jobId: string) => void;
}): Promise<TrivialConsumer> {
  const { url, name, concurrency, workMs = 0, onStarted } = options;
  const claimIdleMs = 300_000;
  const store = await openJobStore({
    url,
    runnerId: name,
    instance: randomUUID(),
    jobsPerUser: 1_000,
    claimIdleMs,
    maxAttempts: 3,
  });
  await store.ensureGroup();
  const consumer = consumeJobs({
    store,
    concurrency,
    claimIdleMs,
    timeoutMs: 60_000,
    drainTimeoutMs: 5_000,
    now: Date.now,
    log: pino({ level: 'silent' }),
    async work({ id }) {
      onStarted?.(id);
      if (workMs > 0) await sleep(workMs);
      return {
        status: 'success',
        branch: null,
        linesAdded: 0,
        linesRemoved: 0,
        changeRequestUrl: null,
        changeRequestProblem: null,
      };
    },
  });
  return {
    async stop() {
      await consumer.drain();
      await store.close();
    },
  };
}

const [, program, url, name, concurrency, workMs] = process.argv;
if (program === import.meta.filename && url && name) {
  const consumer = await startTrivialConsumer({
    url,
    name,
    concurrency: Number(concurrency),
    workMs: Number(workMs),
  });
  process.stdout.write('ready\n');
  process.once('SIGTERM', () => void consumer.stop());
}
