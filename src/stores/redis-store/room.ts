/** What every part of the store works with, and how a write is tried until nothing came between. */

import { setTimeout as sleep } from 'node:timers/promises';
import { StoreUnavailableError } from '../../errors.ts';
import type { Connection } from './connection.ts';
import type { Committer } from './draft.ts';
import type { Keys } from './keys.ts';

export interface Room {
  connection: Connection;
  keys: Keys;
  committer: Committer;
  queueLimit: number;
}

const PATIENCE_MS = 10_000;

/** `attempt` reads, drafts and commits; it resolves to false when something had changed in between. */
export async function untilCommitted<T>(attempt: () => Promise<{ done: T } | false>): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS;
  for (let failures = 0; ; failures += 1) {
    const outcome = await attempt();
    if (outcome) return outcome.done;
    if (performance.now() > deadline) {
      throw new StoreUnavailableError('Too many others write the same at this moment.', {
        nextAction: 'Try again.',
      });
    }
    // Those who lost together do not come back together.
    if (failures > 0) await sleep(Math.random() * Math.min(5 * failures, 100));
  }
}
