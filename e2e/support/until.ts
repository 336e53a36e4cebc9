/** Waits for a fact by asking again and again. If it never comes, the error contains the last state. */

import { setTimeout as sleep } from 'node:timers/promises';

/** A wait that takes longer hangs, even on a machine that is busy with other work. */
export const PATIENCE_MS = 120_000;

/** Returns the first value of `probe` that is neither undefined nor null. Throws after `timeoutMs`. */
export async function until<T>(
  what: string,
  probe: () => T | null | undefined | Promise<T | null | undefined>,
  { timeoutMs = PATIENCE_MS, seen }: { timeoutMs?: number; seen?: () => unknown } = {},
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await probe();
    if (value !== null && value !== undefined) return value;
    if (performance.now() > deadline) {
      const last = seen ? ` Seen: ${JSON.stringify(seen())}` : '';
      throw new Error(`Waited ${timeoutMs / 1000} s in vain for ${what}.${last}`);
    }
    await sleep(25);
  }
}
