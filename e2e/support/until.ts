/** Waits for a fact by asking again and again, and says what was seen last when it never comes. */

import { setTimeout as sleep } from 'node:timers/promises';

/** Something hangs that takes longer, also on a machine that is busy with other work. */
export const PATIENCE_MS = 120_000;

/** Gives the first value of `probe` that is neither undefined nor null. Throws after `timeoutMs`. */
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
      throw new Error(`Not within ${timeoutMs / 1000} s: ${what}.${last}`);
    }
    await sleep(25);
  }
}
