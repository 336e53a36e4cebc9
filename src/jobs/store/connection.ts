/** The connection to Redis: bounded in time, reconnecting by itself, its errors in our words. */

import { setTimeout as sleep } from 'node:timers/promises';
import { Redis, type RedisOptions } from 'ioredis';
import { StoreUnavailableError } from '../../errors.ts';

/** A script that Redis runs as one step that no other command comes between. */
export interface Script {
  lua: string;
  sha1: string;
}

export type Reply = string | number | null | Reply[];

export interface Connection {
  /** Its number, as in the address. */
  database: number;
  /** Of each call. */
  timeoutMs: number;
  /** One command. Throws StoreUnavailableError: refused, not connected, or not answered in time. */
  call(command: string, ...values: (string | number)[]): Promise<Reply>;
  /** Several commands in one round trip; the first that fails is thrown. */
  all(commands: (readonly (string | number)[])[]): Promise<Reply[]>;
  evaluate(script: Script, values: readonly (string | number)[]): Promise<Reply>;
  /** Another connection like this one, for what blocks. */
  another(options: RedisOptions): Redis;
  close(): Promise<void>;
}

export interface ConnectionOptions {
  /** redis:// or rediss://, with user and password when there are any. */
  url: string;
  /** Of each call. */
  timeoutMs: number;
}

/** The outcome is not known: Redis may have done it, or may do it still. */
class UncertainOutcomeError extends StoreUnavailableError {}

const RETRY_MS = 2_000;

/** What is wrong by Redis' own code (the first word of its errors), and what to do. */
const NEXT_ACTIONS: Record<string, string> = {
  OOM: 'Raise maxmemory of Redis, or remove what else is in it; it must not evict keys.',
  READONLY: 'Point REDIS_URL to the primary: this Redis is a replica.',
  NOAUTH: 'Put the password into REDIS_URL: redis://:password@host.',
  WRONGPASS: 'Correct the user and password in REDIS_URL.',
  NOPERM: 'Give the user of REDIS_URL all commands on keys that begin with iac-runner: and on scripts.',
  LOADING: 'Wait until Redis has read its data.',
  BUSY: 'Another script blocks Redis; wait, or end it with SCRIPT KILL.',
  MISCONF: 'Redis cannot save to its disk: free space there and read its log.',
  WRONGTYPE: 'Another program has written to a key of ours: give each its own prefix or database.',
  MASTERDOWN: 'The replica has lost its primary; point REDIS_URL to the primary.',
};

/** Never lets a call end before its answer or its time: no endless queue while Redis is away. */
export function openConnection(options: ConnectionOptions): Connection {
  const { url, timeoutMs } = options;
  const settings = {
    lazyConnect: true,
    protocol: 2 as const,
    enableOfflineQueue: false,
    // Not sent again by the library: only we know whether that would do it twice.
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: timeoutMs,
    connectTimeout: timeoutMs,
    keepAlive: 10_000,
    connectionName: 'iac-runner',
    retryStrategy: (times: number) => Math.min(50 * 2 ** Math.min(times, 10), RETRY_MS),
    // A primary that became a replica: the address may lead to the new primary by now.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
  } satisfies RedisOptions;
  const redis = new Redis(url, settings);
  let lastProblem: Error | null = null;
  redis.on('error', (error) => {
    lastProblem = error;
  });

  async function ready(): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (redis.status !== 'ready') {
      if (redis.status === 'wait') redis.connect().catch(() => undefined);
      if (redis.status === 'end' || performance.now() > deadline) throw unavailable(lastProblem, options);
      await sleep(20);
    }
  }

  /** Reads are repeated by whoever wants to; what may have written is uncertain unless Redis said no. */
  async function attempt<T>(work: () => Promise<T>): Promise<T> {
    if (redis.status !== 'ready') await ready();
    try {
      return await work();
    } catch (error) {
      throw unavailable(error, options);
    }
  }

  return {
    database: redis.options.db ?? 0,
    timeoutMs,
    call: (command, ...values) => attempt(() => redis.call(command, ...values) as Promise<Reply>),
    all: (commands) =>
      commands.length === 0
        ? Promise.resolve([])
        : attempt(async () => {
            const answers = (await redis.pipeline(commands.map((words) => ['call', ...words])).exec()) ?? [];
            return answers.map(([error, reply]) => {
              if (error) throw error;
              return reply as Reply;
            });
          }),
    evaluate: ({ lua, sha1 }, values) =>
      attempt(async () => {
        try {
          return (await redis.call('EVALSHA', sha1, 0, ...values)) as Reply;
        } catch (error) {
          if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
          return (await redis.call('EVAL', lua, 0, ...values)) as Reply;
        }
      }),
    another: (other) => redis.duplicate({ ...settings, ...other }),
    async close() {
      redis.disconnect();
    },
  };
}

/** Resolves once Redis answers; throws StoreUnavailableError for what waiting does not mend, or at the time limit. */
export async function waitUntilReady(connection: Connection, connectTimeoutMs: number): Promise<void> {
  const deadline = performance.now() + connectTimeoutMs;
  for (;;) {
    try {
      // The library goes on in database 0 when there is no such one: that may hold another installation.
      await connection.call('SELECT', connection.database);
      return;
    } catch (error) {
      const isFinal =
        error instanceof Error && /password|NOPERM|WRONGPASS|NOAUTH|DB index/i.test(error.message);
      if (isFinal || performance.now() > deadline) throw error;
      await sleep(200);
    }
  }
}

/** An address as it may be shown: without user and password. */
export function shownAddress(url: string): string {
  const parsed = URL.parse(url);
  return parsed === null ? 'redis' : `${parsed.protocol}//${parsed.host}${parsed.pathname}`;
}

function nextActionAt(message: string): string {
  if (message.includes('DB index')) return 'Correct the number at the end of REDIS_URL.';
  const code = /^(?:ERR )?([A-Z]{3,})\b/.exec(message)?.[1];
  return NEXT_ACTIONS[code ?? ''] ?? 'Read the log of Redis.';
}

function unavailable(cause: unknown, { url }: Pick<ConnectionOptions, 'url'>): StoreUnavailableError {
  if (cause instanceof StoreUnavailableError) return cause;
  const message = cause instanceof Error ? cause.message : String(cause ?? 'not connected');
  const address = shownAddress(url);
  if (cause instanceof Error && cause.name === 'ReplyError') {
    return new StoreUnavailableError(`Redis at ${address} refuses: ${message}.`, {
      nextAction: nextActionAt(message),
      cause,
    });
  }
  const options = { nextAction: 'Check that it runs and can be reached from here.', cause };
  return new UncertainOutcomeError(`Redis at ${address} does not answer: ${message}.`, options);
}
