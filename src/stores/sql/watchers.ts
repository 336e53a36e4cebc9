/** Keeps the listeners for changes of runs. */

import type { RunStore } from '../../runs/run-store.ts';

export interface Watchers {
  watch: RunStore['watch'];
  notify(runId: string, mayClaim: boolean): void;
  clear(): void;
}

export function createWatchers(): Watchers {
  const listeners = new Set<{ hear(runId: string, mayClaim: boolean): void }>();
  return {
    watch(hear) {
      const listener = { hear };
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    notify(runId, mayClaim) {
      for (const { hear } of [...listeners]) hear(runId, mayClaim);
    },
    clear: () => listeners.clear(),
  };
}
