/** Tells whether a server that stops cut off steps of a run. */

import type { RunEventBody } from '../runs/run-events.ts';

type Emit = (...events: RunEventBody[]) => Promise<void>;

/** `emit` with an eye on which steps run; `wasCut` says whether one did when `stopping` was aborted. */
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
