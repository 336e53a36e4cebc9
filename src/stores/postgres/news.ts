/** Notifies watchers of the runs that other processes changed (https://www.postgresql.org/docs/current/sql-notify.html). */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { z } from 'zod';
import { connect, drop, readClock, unavailable } from './connection.ts';

export interface Change {
  runs: string[];
  mayClaim: boolean;
}

/** A notification holds up to 8,000 bytes; an id has 36. */
const RUNS_AT_ONCE = 100;
const RETRY_MS = 500;
/** A dead connection may look like a quiet one, so it is asked after this time. */
const CHECK_MS = 5_000;
/** After an interruption, runs that ended less than this time before it are reported again, too. */
const OVERLAP_MS = 60_000;

/** Every user of the database may send notifications, so a notification of another form is ignored. */
const payloadSchema = z
  .string()
  .transform((text, context) => {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      context.addIssue('not JSON');
      return z.NEVER;
    }
  })
  .pipe(z.object({ by: z.string(), runs: z.array(z.string()), mayClaim: z.boolean() }));

/** Returns the notifications of a transaction. */
export function toPayloads(by: string, changes: readonly Change[]): string[] {
  const runs = [...new Set(changes.flatMap((change) => change.runs))];
  const mayClaim = changes.some((change) => change.mayClaim);
  const count = Math.ceil(runs.length / RUNS_AT_ONCE);
  return Array.from({ length: count }, (_, index) =>
    JSON.stringify({ by, runs: runs.slice(index * RUNS_AT_ONCE, (index + 1) * RUNS_AT_ONCE), mayClaim }),
  );
}

/** A listener for the writes of other processes, with its connection, which is null while the database is away. */
interface Following {
  readonly url: string;
  readonly instance: string;
  readonly onChange: (change: Change) => void;
  client: Client | null;
  isStopped: boolean;
  /** The last time at which the connection worked, by the clock of the database. */
  lastHeard: number;
}

/**
 * Calls `onChange` for the writes of all instances but `instance`. After an interruption it is called for every run
 * that may have changed meanwhile. Resolves when it listens.
 */
export async function followNews(
  url: string,
  instance: string,
  onChange: (change: Change) => void,
): Promise<{ stop(): void }> {
  const following: Following = { url, instance, onChange, client: null, isStopped: false, lastHeard: 0 };
  following.client = await listen(following);
  following.lastHeard = await readClock(following.client);
  void follow(following);
  return {
    stop() {
      following.isStopped = true;
      if (following.client) drop(following.client);
    },
  };
}

async function listen({ url, instance, onChange }: Following): Promise<Client> {
  const opened = await connect(url);
  opened.on('notification', ({ payload }) => {
    const change = payloadSchema.safeParse(payload);
    if (change.success && change.data.by !== instance) onChange(change.data);
  });
  try {
    await opened.query('LISTEN iac_runner');
    return opened;
  } catch (error) {
    drop(opened);
    throw unavailable('reached', error);
  }
}

/** Checks the connection until somebody stops it, and makes another one after it was lost. */
async function follow(following: Following): Promise<void> {
  while (!following.isStopped) {
    await sleep(following.client ? CHECK_MS : RETRY_MS, undefined, { ref: false });
    if (following.isStopped) return;
    try {
      if (!following.client) {
        following.client = await listen(following);
        await catchUp(following, following.client);
      }
      following.lastHeard = await readClock(following.client);
      if (following.isStopped) drop(following.client);
    } catch {
      // The database is away, which every other call reports. The missed changes are reported when it is back.
      if (following.client) drop(following.client);
      following.client = null;
    }
  }
}

/** Reports all runs that are open, and those that ended since the connection was last known to work. */
async function catchUp({ lastHeard, onChange }: Following, client: Client): Promise<void> {
  const since = lastHeard - OVERLAP_MS;
  const { rows } = await client.query<{ id: string }>(
    `SELECT id FROM runs WHERE state IN ('queued', 'running', 'awaiting_approval') OR finished_at >= $1`,
    [since],
  );
  onChange({ runs: rows.map(({ id }) => id), mayClaim: true });
}
