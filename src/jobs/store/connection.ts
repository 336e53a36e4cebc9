/** The connection to Redis. Its calls have time limits, it reconnects by itself, and its errors are in our words. */

import { setTimeout as sleep } from 'node:timers/promises';
import { Redis, type RedisOptions } from 'ioredis';
import { StoreUnavailableError } from '../../errors.ts';

/** A script that Redis runs as one step, without any other command in between. */
export interface Script {
  lua: string;
  sha1: string;
}

export type Reply = string | number | null | Reply[];
type Value = string | number;

export type Connection = ReturnType<typeof openConnection>;

export interface ConnectionOptions {
  /** redis:// or rediss://, with a user and a password if Redis needs them. */
  url: string;
  /** The time limit of each call. */
  timeoutMs: number;
}

/** The outcome is unknown: Redis may have run the command, or may still run it. */
class UncertainOutcomeError extends StoreUnavailableError {}

const RETRY_MS = 2_000;

/** The next action for an error of Redis, by the first word of the error. */
const NEXT_ACTIONS: Record<string, string> = {
  OOM: 'Raise maxmemory of Redis, or remove what else is in it; it must not evict keys.',
  READONLY: 'Point REDIS_URL to the primary: this Redis is a replica.',
  NOAUTH: 'Put the password into REDIS_URL: redis://:password@host.',
  WRONGPASS: 'Correct the user and password in REDIS_URL.',
  NOPERM:
    'Allow the user of REDIS_URL all commands on the keys job:*, jobs:*, runner:* and git_provider:*, and scripts.',
  LOADING: 'Wait until Redis has read its data.',
  BUSY: 'Another script blocks Redis; wait, or end it with SCRIPT KILL.',
  MISCONF: 'Redis cannot save to its disk: free space there and read its log.',
  WRONGTYPE: 'Another program has written to one of our keys: give each program its own database.',
  MASTERDOWN: 'The replica has lost its primary; point REDIS_URL to the primary.',
};

function settingsFor({ timeoutMs }: ConnectionOptions) {
  return {
    lazyConnect: true,
    protocol: 2 as const,
    enableOfflineQueue: false,
    // The library must not send a command again, because it cannot know whether that does it twice.
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: timeoutMs,
    connectTimeout: timeoutMs,
    keepAlive: 10_000,
    connectionName: 'iac-runner',
    retryStrategy: (times: number) => Math.min(50 * 2 ** Math.min(times, 10), RETRY_MS),
    // The primary has become a replica. By now the address may lead to the new primary.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
  } satisfies RedisOptions;
}

/** Each call ends with an answer or at its time limit, so that no queue grows while Redis is away. */
export function openConnection(options: ConnectionOptions) {
  const { url, timeoutMs } = options;
  const settings = settingsFor(options);
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

  /** A failed write may still have happened, unless Redis refused it. So nothing is repeated here. */
  async function attempt<T>(work: () => Promise<T>): Promise<T> {
    if (redis.status !== 'ready') await ready();
    try {
      return await work();
    } catch (error) {
      throw unavailable(error, options);
    }
  }

  return {
    /** The number in the address. */
    database: redis.options.db ?? 0,
    timeoutMs,
    /** Runs one command. Throws StoreUnavailableError if Redis refuses it, is not connected or does not answer in time. */
    call: (command: string, ...values: Value[]) =>
      attempt(() => redis.call(command, ...values) as Promise<Reply>),
    /** Runs several commands in one round trip. Throws the error of the first that fails. */
    all: (commands: (readonly Value[])[]): Promise<Reply[]> =>
      attempt(async () => {
        const answers = (await redis.pipeline(commands.map((words) => ['call', ...words])).exec()) ?? [];
        return answers.map(([error, reply]) => {
          if (error) throw error;
          return reply as Reply;
        });
      }),
    evaluate: (script: Script, values: readonly Value[]) => attempt(() => evaluate(redis, script, values)),
    /** Opens another connection like this one, for commands that block. */
    another: (other: RedisOptions) => redis.duplicate({ ...settings, ...other }),
    async close(): Promise<void> {
      redis.disconnect();
    },
  };
}

/** Sends the whole script only if Redis does not have it yet. */
async function evaluate(redis: Redis, { lua, sha1 }: Script, values: readonly Value[]): Promise<Reply> {
  try {
    return (await redis.call('EVALSHA', sha1, 0, ...values)) as Reply;
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error;
    return (await redis.call('EVAL', lua, 0, ...values)) as Reply;
  }
}

/** Resolves once Redis answers. Throws StoreUnavailableError at the time limit, or at once if waiting cannot help. */
export async function waitUntilReady(connection: Connection, connectTimeoutMs: number): Promise<void> {
  const deadline = performance.now() + connectTimeoutMs;
  for (;;) {
    try {
      // If the database does not exist, the library goes on in database 0, which may hold another installation.
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

/** The address without user and password, so that it can be shown. */
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
