/** What processes on several machines tell one another through Redis. */

import { randomUUID } from 'node:crypto';
import type { Fleet, WorkerSign } from '../../runs/fleet.ts';
import type { Connection } from './connection.ts';
import type { Keys } from './keys.ts';
import { HOLD, RELEASE } from './scripts.ts';
import { texts } from './stored-run.ts';

/** Whoever was silent for longer is forgotten. */
const FORGOTTEN_MS = 600_000;

/** `tools` gives what this machine has, or null for what is not told. */
export function createFleet(
  connection: Connection,
  keys: Keys,
  tools: () => Promise<readonly string[] | null>,
): Fleet {
  async function now(): Promise<number> {
    const [seconds, microseconds] = texts(await connection.call('TIME')).map(Number);
    return (seconds ?? 0) * 1_000 + Math.floor((microseconds ?? 0) / 1_000);
  }
  return {
    async beat(sign) {
      const text = JSON.stringify({ ...sign, tools: await tools(), at: await now() } satisfies WorkerSign);
      await connection.call('HSET', keys.workers, sign.owner, text);
    },
    async leave(owner) {
      await connection.call('HDEL', keys.workers, owner);
    },
    async workers() {
      const [time, found] = await Promise.all([now(), connection.call('HVALS', keys.workers)]);
      const all = texts(found).map((text): WorkerSign => ({ tools: null, ...JSON.parse(text ?? '') }));
      const gone = all.filter(({ at }) => at < time - FORGOTTEN_MS).map(({ owner }) => owner);
      if (gone.length > 0) await connection.call('HDEL', keys.workers, ...gone);
      return {
        now: time,
        workers: all
          .filter(({ owner }) => !gone.includes(owner))
          .toSorted((left, right) => (left.owner < right.owner ? -1 : 1)),
      };
    },
    async oldestWaiting() {
      const [, since] = texts(await connection.call('ZRANGE', keys.waiting, 0, 0, 'WITHSCORES'));
      return since === undefined ? null : Number(since);
    },
    async hold(role, owner, leaseMs) {
      return (await connection.evaluate(HOLD, [keys.role(role), owner, leaseMs])) === 1;
    },
    async release(role, owner) {
      await connection.evaluate(RELEASE, [keys.role(role), owner]);
    },
    async identity() {
      await connection.call('SETNX', keys.identity, randomUUID());
      return String(await connection.call('GET', keys.identity));
    },
  };
}
