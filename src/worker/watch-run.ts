/** Watches a run while it is worked on: which steps run, and whether somebody has cancelled it. */

import type { Logger } from 'pino';
import type { RunEventBody } from '../runs/run-events.ts';
import type { RunStore } from '../runs/run-store.ts';
import { SECOND } from '../units.ts';

const LOOK_AGAIN_MS = 2 * SECOND;

type Emit = (...events: RunEventBody[]) => Promise<void>;

/** Wraps `emit` and notes which steps run. `wasCut` says whether one was running when `stopping` was aborted. */
export function watchSteps(emit: Emit, stopping: AbortSignal) {
  const running = new Set<string>();
  let cut = false;
  const look = (): void => {
    cut = running.size > 0;
  };
  stopping.addEventListener('abort', look, { once: true });
  return {
    emit(...events: RunEventBody[]): Promise<void> {
      for (const event of events) {
        if (event.type === 'step.started') running.add(event.step);
        else if (event.type === 'step.finished') running.delete(event.step);
      }
      return emit(...events);
    },
    wasCut: () => cut,
    release: () => stopping.removeEventListener('abort', look),
  };
}

/** Calls `onCancel` once the run is to be cancelled. A store that cannot be read is asked again, so no request is lost. */
export function watchCancel(
  { store, log }: { store: Pick<RunStore, 'run' | 'watch'>; log: Logger },
  runId: string,
  onCancel: (by: string) => void,
): () => void {
  let again: NodeJS.Timeout | undefined;
  async function look(): Promise<void> {
    try {
      const by = (await store.run(runId))?.cancelRequestedBy;
      if (by) onCancel(by);
    } catch (err) {
      log.debug({ err, run_id: runId }, 'the store cannot say whether the run is cancelled, trying again');
      clearTimeout(again);
      again = setTimeout(look, LOOK_AGAIN_MS).unref();
    }
  }
  const unwatch = store.watch((changed) => {
    if (changed === runId) void look();
  });
  void look();
  return () => {
    unwatch();
    clearTimeout(again);
  };
}
