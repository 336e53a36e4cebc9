/** Reads on connections of its own, so that no page waits for a write. */

import type { Client } from 'pg';
import type { Driver } from '../sql/run-store.ts';
import {
  connect,
  drop,
  isConnectionLost,
  isUnavailable,
  readClock,
  statementsOf,
  unavailable,
} from './connection.ts';

const CONNECTIONS = 4;

export interface Reader {
  read: Driver['read'];
  close(): Promise<void>;
}

export function openReader(url: string): Reader {
  const idle: Client[] = [];
  const queue: (() => void)[] = [];
  let busy = 0;
  let isClosed = false;

  async function take(): Promise<Client> {
    if (busy >= CONNECTIONS) await new Promise<void>((resolve) => queue.push(resolve));
    else busy += 1;
    return (
      idle.pop() ??
      connect(url, (ended) => {
        const place = idle.indexOf(ended);
        if (place >= 0) idle.splice(place, 1);
      })
    );
  }

  function giveBack(): void {
    const next = queue.shift();
    if (next) next();
    else busy -= 1;
  }

  return {
    async read(query) {
      let client: Client | null = null;
      try {
        client = await take();
        const current = client;
        const result = await query({ ...statementsOf(current), now: () => readClock(current) });
        if (isClosed) drop(current);
        else idle.push(current);
        return result;
      } catch (error) {
        if (client && isConnectionLost(error)) drop(client);
        else if (client && isClosed) drop(client);
        else if (client) idle.push(client);
        if (isUnavailable(error)) throw unavailable('read', error);
        throw error;
      } finally {
        giveBack();
      }
    },
    async close() {
      isClosed = true;
      for (const client of idle.splice(0)) await client.end().catch(() => undefined);
    },
  };
}
