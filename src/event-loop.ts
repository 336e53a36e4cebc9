/** Lets other work go on while a long calculation runs. */

import { setImmediate } from 'node:timers/promises';

const TURN_MS = 20;

/** Does the work for each item, and lets everything else in the process have a turn every few milliseconds. */
export async function eachInTurns<Item>(items: Iterable<Item>, work: (item: Item) => void): Promise<void> {
  let startedAt = performance.now();
  for (const item of items) {
    work(item);
    if (performance.now() - startedAt < TURN_MS) continue;
    await setImmediate();
    startedAt = performance.now();
  }
}
