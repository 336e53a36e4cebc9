/** Tells open pages that something has changed, so that they are read again. It says nothing about what. */

import type { RunStore } from '../../runs/run-store.ts';
import { SECOND } from '../../units.ts';
import { type SseStream, sseMessage } from '../frame/event-streams.ts';

const HEARTBEAT_MS = 15 * SECOND;
/** A run that writes its log changes many times a second. Messages are at least this far apart. */
const MIN_PAUSE_MS = SECOND;

/** Writes until the reader leaves. The first message comes at once, because something may have changed before. */
export async function tellChanges(stream: SseStream, store: Pick<RunStore, 'watch'>): Promise<void> {
  let hasChanged = true;
  let wake = (): void => {};
  const notify = (): void => {
    hasChanged = true;
    wake();
  };
  const unwatch = store.watch(notify);
  stream.onAbort(() => wake());
  const rest = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  try {
    await stream.write('retry: 2000\n\n');
    while (!stream.aborted) {
      if (!hasChanged) await rest(HEARTBEAT_MS);
      if (stream.aborted) return;
      const text = hasChanged ? sseMessage('change', {}) : ': still here\n\n';
      hasChanged = false;
      await stream.write(text);
      await stream.sleep(MIN_PAUSE_MS);
    }
  } finally {
    unwatch();
  }
}
