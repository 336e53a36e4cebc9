/** Repeats a call until Redis has answered it. */

import { setTimeout as sleep } from 'node:timers/promises';
import { SECOND } from '../../units.ts';

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2 * SECOND;

/**
 * Repeats `action` at growing intervals until it succeeds. If `signal` is aborted during a pause, `action` is called one
 * last time. After that its error is thrown.
 */
export async function retry<T>(
  action: () => Promise<T>,
  signal: AbortSignal,
  onFailure: (error: unknown) => void = () => undefined,
): Promise<T> {
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    try {
      return await action();
    } catch (error) {
      if (signal.aborted) throw error;
      onFailure(error);
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }
}
