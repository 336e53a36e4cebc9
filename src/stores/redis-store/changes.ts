/** Tells watchers which runs other processes changed: read from a stream, so that a broken connection misses none. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from './connection.ts';
import type { Keys } from './keys.ts';

const BLOCK_MS = 5_000;
const BACKOFF_MS = 500;
const AT_ONCE = 1_000;

/** `onChange` is not called for what `instance` itself wrote. Resolves when it listens from now on. */
export async function followChanges(
  connection: Connection,
  keys: Keys,
  instance: string,
  onChange: (runId: string) => void,
): Promise<{ stop(): void }> {
  const redis = connection.another({ commandTimeout: 2 * BLOCK_MS, enableOfflineQueue: true });
  redis.on('error', () => undefined);
  let stopped = false;
  const [newest] = (await connection.call('XREVRANGE', keys.changes, '+', '-', 'COUNT', 1)) as [string, []][];
  let last = newest?.[0] ?? '0-0';

  async function read(): Promise<void> {
    const answer = await redis.xread('COUNT', AT_ONCE, 'BLOCK', BLOCK_MS, 'STREAMS', keys.changes, last);
    for (const [id, fields] of answer?.[0]?.[1] ?? []) {
      last = id;
      const [, by, , runs = ''] = fields;
      if (by !== instance) for (const runId of runs.split(',')) onChange(runId);
    }
  }

  async function follow(): Promise<void> {
    while (!stopped) {
      try {
        await read();
      } catch {
        // Redis is away: every other call says so.
        if (!stopped) await sleep(BACKOFF_MS);
      }
    }
  }

  void follow();
  return {
    stop() {
      stopped = true;
      redis.disconnect();
    },
  };
}
