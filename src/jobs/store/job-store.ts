/** The jobs in Redis: read from the stream, started within their user's limit, kept alive, ended. Each step is a script. */

import { describeError } from '../../errors.ts';
import type { GitProvider } from '../../runs/job.ts';
import { SECOND } from '../../units.ts';
import { type Connection, openConnection, type Reply, type Script, waitUntilReady } from './connection.ts';
import { gather } from './gather.ts';
import { inspectServer } from './inspect-server.ts';
import { GROUP, LEASES, providerKey, STREAM } from './job-keys.ts';
import {
  entryOf,
  healthOf,
  type JobHealth,
  type JobLease,
  type JobLine,
  listOf,
  readProvider,
  type SetAside,
  type StartedJobs,
  setAsideOf,
  startedJobsOf,
  textOf,
} from './job-replies.ts';
import { APPEND_OUTPUT, CLAIM_IDLE, FINISH, HAND_BACK, LEAVE, RECALL, RENEW, START } from './job-scripts.ts';

export type { JobHealth, JobLine, SetAside, StartedJob, StartedJobs } from './job-replies.ts';

/** Every function throws StoreUnavailableError if Redis refuses or does not answer. */
export type JobStore = Awaited<ReturnType<typeof openJobStore>>;

interface JobFinish {
  lease: JobLease;
  end: { status: string; fields: Readonly<Record<string, string>> };
  wanted: number;
}

type JobFinished = StartedJobs & { status: string | null };

export interface JobStoreOptions {
  url: string;
  /** The name of the consumer. */
  runnerId: string;
  /** Unique for this process, such as a UUID. It distinguishes the process from an earlier one of the same name. */
  instance: string;
  jobsPerUser: number;
  claimIdleMs: number;
  maxAttempts: number;
  timeoutMs?: number;
  /** How long Redis may take to answer at the start. */
  connectTimeoutMs?: number;
}

const TIMEOUT_MS = 4 * SECOND;
const CONNECT_TIMEOUT_MS = 10 * SECOND;
const BLOCK_MS = 5 * SECOND;
/** Few, so that Redis works on some while we start others. */
const ENDS_AT_ONCE = 5;
export const UNTOUCHED_AT_ONCE = 500;

interface JobsRedis extends Connection {
  options: JobStoreOptions;
  /** Runs one of the scripts of jobs. */
  run(script: Script, values: readonly (string | number)[]): Promise<Reply>;
}

/** Throws StoreUnavailableError if Redis cannot be reached or refuses us. */
export async function openJobStore(options: JobStoreOptions) {
  const { timeoutMs = TIMEOUT_MS, connectTimeoutMs = CONNECT_TIMEOUT_MS } = options;
  const connection = openConnection({ url: options.url, timeoutMs });
  try {
    await waitUntilReady(connection, connectTimeoutMs);
  } catch (error) {
    await connection.close();
    throw error;
  }
  const common = [options.runnerId, options.jobsPerUser, options.claimIdleMs, options.maxAttempts];
  const redis: JobsRedis = {
    ...connection,
    options,
    run: (script, values) => connection.evaluate(script, [...common, ...values]),
  };
  const warnings = await inspectServer(connection, options.url).catch((error) => [describeError(error)]);
  const waiter = openWaiter(redis);
  return {
    /** Says in one sentence each which data this Redis may lose, or why no jobs can be taken from it. */
    warnings,
    ...streamOf(redis),
    ...workOf(redis),
    ...lookupsOf(redis),
    nextEntry: waiter.nextEntry,
    async close() {
      waiter.close();
      await connection.close();
    },
  };
}

/** Waits on a connection of its own, because other commands cannot wait behind it. */
function openWaiter({ another, timeoutMs, options }: JobsRedis) {
  const waiter = another({ commandTimeout: BLOCK_MS + timeoutMs });
  waiter.on('error', () => undefined);
  return {
    close: () => waiter.disconnect(),
    /** Waits up to five seconds for an entry that nobody has read. Pass it to `start`. */
    async nextEntry(signal: AbortSignal): Promise<string | null> {
      if (waiter.status === 'wait') await waiter.connect();
      const stop = () => waiter.disconnect();
      signal.addEventListener('abort', stop, { once: true });
      try {
        const words = ['GROUP', GROUP, options.runnerId, 'COUNT', 1, 'BLOCK', BLOCK_MS];
        return entryOf((await waiter.call('XREADGROUP', ...words, 'STREAMS', STREAM, '>')) as Reply);
      } catch (error) {
        if (signal.aborted) return null;
        throw error;
      } finally {
        signal.removeEventListener('abort', stop);
      }
    },
  };
}

function streamOf({ call, run, options: { runnerId, instance, claimIdleMs } }: JobsRedis) {
  return {
    /** Creates the group if it does not exist. It begins with the first entry of the stream. */
    async ensureGroup(): Promise<void> {
      try {
        await call('XGROUP', 'CREATE', STREAM, GROUP, '0', 'MKSTREAM');
      } catch (error) {
        if (!(error instanceof Error && /BUSYGROUP/.test(error.message))) throw error;
      }
    },
    /** Returns the entries that this consumer got and that nobody has touched for so long, in order, after a given one. */
    async untouched(idleMs: number, after: string | null): Promise<string[]> {
      const from = after === null ? '-' : `(${after}`;
      const words = [STREAM, GROUP, 'IDLE', idleMs, from, '+', UNTOUCHED_AT_ONCE, runnerId];
      return listOf(await call('XPENDING', ...words)).map((item) => textOf(listOf(item)[0]));
    },
    /** Lets entries wait again on which this process does not work, even if Redis thinks that it does. */
    async recall(entries: readonly string[]): Promise<void> {
      await run(RECALL, [instance, ...entries]);
    },
    /** Looks at some of the entries that were idle for too long. Returns where to go on. The first cursor is '0-0'. */
    async claimIdle(cursor: string): Promise<{ cursor: string; setAside: SetAside[] }> {
      const [next, asides] = listOf(await run(CLAIM_IDLE, [claimIdleMs, cursor]));
      return { cursor: textOf(next), setAside: listOf(asides).map(setAsideOf) };
    },
    /** Leaves the group, and gives the entries that were read but not started to others. */
    async leave(): Promise<void> {
      await run(LEAVE, []);
    },
  };
}

function workOf({ run, options: { instance } }: JobsRedis) {
  const finish = gather(ENDS_AT_ONCE, async (ends: JobFinish[]): Promise<JobFinished[]> => {
    const values = ends.flatMap(({ lease: { jobId, entry, token }, end: { status, fields } }) => {
      const words = Object.entries(fields).flat();
      return [jobId, entry, token, status, words.length, ...words];
    });
    const wanted = ends.reduce((sum, end) => sum + end.wanted, 0);
    const [outcomes, ...started] = listOf(await run(FINISH, [wanted, instance, ...values]));
    const none: StartedJobs = { started: [], setAside: [], more: false };
    return listOf(outcomes).map((outcome, index) => ({
      ...(index === 0 ? startedJobsOf(started) : none),
      status: outcome === 'lost' ? null : textOf(outcome),
    }));
  });

  return {
    /** Starts at most `wanted` jobs, with the users in turn. `entries` are those that `nextEntry` returned. */
    async start(wanted: number, entries: readonly string[] = []): Promise<StartedJobs> {
      return startedJobsOf(listOf(await run(START, [wanted, instance, ...entries])));
    },
    /** Renews leases, and returns the state of each job. */
    async renew(leases: readonly JobLease[]): Promise<JobHealth[]> {
      if (leases.length === 0) return [];
      const values = leases.flatMap(({ jobId, entry, token }) => [jobId, entry, token]);
      return listOf(await run(RENEW, values)).map(healthOf);
    },
    /** Returns false if the lease is lost. */
    async appendOutput({ jobId, token }: JobLease, lines: readonly JobLine[]): Promise<boolean> {
      const texts = lines.map(({ at, stream, line }) => JSON.stringify({ timestamp: at, line, stream }));
      return (await run(APPEND_OUTPUT, [jobId, token, ...texts])) !== 'lost';
    },
    /**
     * Ends the job and starts up to `wanted` others in its place. `status` is null if the lease was lost. Jobs that end at
     * the same moment end in one step, and the jobs that start for all of them are returned to the first caller.
     */
    finish: (lease: JobLease, end: JobFinish['end'], wanted: number) => finish({ lease, end, wanted }),
    /** Gives the job to others at once. Returns false if the lease is lost. */
    async handBack({ jobId, entry, token }: JobLease): Promise<boolean> {
      return (await run(HAND_BACK, [jobId, entry, token])) !== 'lost';
    },
  };
}

function lookupsOf({ call }: JobsRedis) {
  return {
    /** Returns null if there is no provider, and a sentence if it cannot be used. */
    async provider(userId: string, providerId: string): Promise<GitProvider | string | null> {
      try {
        return readProvider(await call('HGETALL', providerKey(userId, providerId)));
      } catch (error) {
        if (error instanceof Error && /WRONGTYPE/.test(error.message)) return 'is not kept as a hash';
        throw error;
      }
    },
    /** Returns the jobs that somebody works on, or whose worker died so recently that nobody has noticed. */
    async held(jobIds: string[]): Promise<Set<string>> {
      if (jobIds.length === 0) return new Set();
      const ends = listOf(await call('ZMSCORE', LEASES, ...jobIds));
      return new Set(jobIds.filter((_, index) => ends[index] !== null));
    },
  };
}
