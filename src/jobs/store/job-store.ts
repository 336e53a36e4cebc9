/** Jobs in Redis: read from the stream, begun within their user's limit, kept alive, ended; each step a script. */

import { describeError } from '../../errors.ts';
import type { GitProvider } from '../../runs/job.ts';
import { openConnection, type Reply, type Script, waitUntilReady } from './connection.ts';
import { gather } from './gather.ts';
import { inspectServer } from './inspect-server.ts';
import { GROUP, LEASES, providerKey, STREAM } from './job-keys.ts';
import {
  type Begun,
  begunOf,
  entryOf,
  healthOf,
  type JobHealth,
  type JobLease,
  type JobLine,
  listOf,
  readProvider,
  type SetAside,
  setAsideOf,
  textOf,
} from './job-replies.ts';
import { APPEND_OUTPUT, BEGIN, CLAIM_IDLE, FINISH, HAND_BACK, LEAVE, RECALL, RENEW } from './job-scripts.ts';

export type { Begun, JobHealth, JobLine, SetAside, StartedJob } from './job-replies.ts';

/** Every function throws StoreUnavailableError when Redis refuses or does not answer. */
export interface JobStore {
  /** What this Redis may lose, or why jobs cannot be taken from it; a sentence each. */
  warnings: readonly string[];
  /** Makes the group when it is not there; its first entry is the first of the stream. */
  ensureGroup(): Promise<void>;
  /** Waits up to five seconds for an entry that nobody has read; `begin` it. */
  nextEntry(signal: AbortSignal): Promise<string | null>;
  /** Begins at most `wanted` jobs, users in turn. `entries` are those that `nextEntry` gave. */
  begin(wanted: number, entries?: readonly string[]): Promise<Begun>;
  /** Entries that this consumer was given and that nobody has touched for so long, in order, from after one on. */
  untouched(idleMs: number, after: string | null): Promise<string[]>;
  /** Lets entries wait anew on which this process, whatever Redis may think, does not work. */
  recall(entries: readonly string[]): Promise<void>;
  /** For each what has become of it meanwhile. */
  renew(leases: readonly JobLease[]): Promise<JobHealth[]>;
  /** False when the lease is lost. */
  appendOutput(lease: JobLease, lines: readonly JobLine[]): Promise<boolean>;
  /**
   * Ends the job and begins up to `wanted` others in its place. `status` is null when the lease was lost. Jobs that end
   * at the same moment end in one step; what is begun for all of them is told to one.
   */
  finish(lease: JobLease, end: JobFinish['end'], wanted: number): Promise<JobFinished>;
  /** For others, at once. */
  handBack(lease: JobLease): Promise<void>;
  /** Looks at a part of the entries that were idle for too long. Gives where to go on; '0-0' is the beginning. */
  claimIdle(cursor: string): Promise<{ cursor: string; setAside: SetAside[] }>;
  /** Null when there is none; a sentence when it cannot be used. */
  provider(userId: string, providerId: string): Promise<GitProvider | string | null>;
  /** Those of the jobs that somebody works on, or has died of so lately that it is not noticed yet. */
  held(jobIds: string[]): Promise<Set<string>>;
  /** Leaves the group: what was read and not begun is for others. */
  leave(): Promise<void>;
  close(): Promise<void>;
}

interface JobFinish {
  lease: JobLease;
  end: { status: string; fields: Readonly<Record<string, string>> };
  wanted: number;
}

type JobFinished = Begun & { status: string | null };

export interface JobStoreOptions {
  url: string;
  /** Name of the consumer. */
  runnerId: string;
  /** Of this process alone, e.g. a UUID: tells it from an earlier one of the same name. */
  instance: string;
  jobsPerUser: number;
  claimIdleMs: number;
  maxAttempts: number;
  timeoutMs?: number;
  /** How long Redis may take to answer at the start. */
  connectTimeoutMs?: number;
}

const TIMEOUT_MS = 4_000;
const CONNECT_TIMEOUT_MS = 10_000;
const BLOCK_MS = 5_000;
/** Few, so that Redis works on some while we begin others. */
const ENDS_AT_ONCE = 5;
export const UNTOUCHED_AT_ONCE = 500;

/** Throws StoreUnavailableError when Redis cannot be reached or refuses us. */
export async function openJobStore(options: JobStoreOptions): Promise<JobStore> {
  const { timeoutMs = TIMEOUT_MS, connectTimeoutMs = CONNECT_TIMEOUT_MS } = options;
  const connection = openConnection({ url: options.url, timeoutMs });
  try {
    await waitUntilReady(connection, connectTimeoutMs);
  } catch (error) {
    await connection.close();
    throw error;
  }
  const warnings = await inspectServer(connection, options.url).catch((error) => [describeError(error)]);
  // Its answer takes as long as it takes; all else goes by the other one.
  const waiter = connection.another({ commandTimeout: BLOCK_MS + timeoutMs });
  waiter.on('error', () => undefined);
  const common = [options.runnerId, options.jobsPerUser, options.claimIdleMs, options.maxAttempts];
  const evaluate = (script: Script, values: readonly (string | number)[]): Promise<Reply> =>
    connection.evaluate(script, [...common, ...values]);

  const finish = gather(ENDS_AT_ONCE, async (ends: JobFinish[]): Promise<JobFinished[]> => {
    const values = ends.flatMap(({ lease: { jobId, entry, token }, end: { status, fields } }) => {
      const words = Object.entries(fields).flat();
      return [jobId, entry, token, status, words.length, ...words];
    });
    const wanted = ends.reduce((sum, end) => sum + end.wanted, 0);
    const [outcomes, ...begun] = listOf(await evaluate(FINISH, [wanted, options.instance, ...values]));
    const none: Begun = { started: [], setAside: [], more: false };
    // What was begun is told once.
    return listOf(outcomes).map((outcome, index) => ({
      ...(index === 0 ? begunOf(begun) : none),
      status: outcome === 'lost' ? null : textOf(outcome),
    }));
  });

  return {
    warnings,
    async ensureGroup() {
      try {
        await connection.call('XGROUP', 'CREATE', STREAM, GROUP, '0', 'MKSTREAM');
      } catch (error) {
        if (!(error instanceof Error && /BUSYGROUP/.test(error.message))) throw error;
      }
    },
    async nextEntry(signal) {
      if (waiter.status === 'wait') await waiter.connect();
      const stop = () => waiter.disconnect();
      signal.addEventListener('abort', stop, { once: true });
      try {
        const words = ['GROUP', GROUP, options.runnerId, 'COUNT', 1, 'BLOCK', BLOCK_MS];
        const reply = (await waiter.call('XREADGROUP', ...words, 'STREAMS', STREAM, '>')) as Reply;
        return entryOf(reply);
      } catch (error) {
        if (signal.aborted) return null;
        throw error;
      } finally {
        signal.removeEventListener('abort', stop);
      }
    },
    async begin(wanted, entries = []) {
      return begunOf(listOf(await evaluate(BEGIN, [wanted, options.instance, ...entries])));
    },
    async untouched(idleMs, after) {
      const from = after === null ? '-' : `(${after}`;
      const words = [STREAM, GROUP, 'IDLE', idleMs, from, '+', UNTOUCHED_AT_ONCE, options.runnerId];
      return listOf(await connection.call('XPENDING', ...words)).map((item) => textOf(listOf(item)[0]));
    },
    async recall(entries) {
      await evaluate(RECALL, [options.instance, ...entries]);
    },
    async renew(leases) {
      if (leases.length === 0) return [];
      const values = leases.flatMap(({ jobId, entry, token }) => [jobId, entry, token]);
      return listOf(await evaluate(RENEW, values)).map(healthOf);
    },
    async appendOutput({ jobId, token }, lines) {
      const texts = lines.map(({ at, stream, line }) => JSON.stringify({ timestamp: at, line, stream }));
      return (await evaluate(APPEND_OUTPUT, [jobId, token, ...texts])) !== 'lost';
    },
    finish: (lease, end, wanted) => finish({ lease, end, wanted }),
    async handBack({ jobId, entry, token }) {
      await evaluate(HAND_BACK, [jobId, entry, token]);
    },
    async claimIdle(cursor) {
      const [next, asides] = listOf(await evaluate(CLAIM_IDLE, [options.claimIdleMs, cursor]));
      return { cursor: textOf(next), setAside: listOf(asides).map(setAsideOf) };
    },
    async provider(userId, providerId) {
      try {
        return readProvider(await connection.call('HGETALL', providerKey(userId, providerId)));
      } catch (error) {
        if (error instanceof Error && /WRONGTYPE/.test(error.message)) return 'is not kept as a hash';
        throw error;
      }
    },
    async held(jobIds) {
      if (jobIds.length === 0) return new Set();
      const ends = listOf(await connection.call('ZMSCORE', LEASES, ...jobIds));
      return new Set(jobIds.filter((_, index) => ends[index] !== null));
    },
    async leave() {
      await evaluate(LEAVE, []);
    },
    async close() {
      waiter.disconnect();
      await connection.close();
    },
  };
}
