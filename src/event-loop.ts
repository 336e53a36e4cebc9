/** Lets other work go on while a long calculation runs. */

import { setImmediate } from 'node:timers/promises';

const TURN_MS = 20;

/** Does the work for each item, and lets everything else in the process have a turn every few milliseconds. */
export async function eachInTurns<Item>(items: Iterable<Item>, work: (item: Item) => void): Promise<void> {
  const pause = createPauses();
  for (const item of items) {
    work(item);
    await pause();
  }
}

/** Returns a function that long work calls often. It lets everything else in the process have a turn when it is time. */
export function createPauses(turnMs = TURN_MS): () => Promise<void> {
  let startedAt = performance.now();
  return async () => {
    if (performance.now() - startedAt < turnMs) return;
    await setImmediate();
    startedAt = performance.now();
  };
}
