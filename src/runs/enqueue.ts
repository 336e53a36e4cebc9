/** The one way into the store: from what a trigger understood to a stored run. */

import { type Run, type SyncInput, syncGroup, type Trigger } from './run.ts';
import type { RunStore } from './run-store.ts';

export interface SyncRequest {
  trigger: Trigger;
  input: SyncInput;
  dedupeKey: string | null;
}

/**
 * Stores a sync. When it resolves the run is on the disk; it throws StoreUnavailableError when that could not
 * be done. A request that leaves the choice to git and the ledger is covered by any later one like it.
 */
export function enqueueSync(
  store: RunStore,
  { trigger, input, dedupeKey }: SyncRequest,
): Promise<{ run: Run; created: boolean }> {
  const coalesce =
    input.selection.mode === 'changed' && !input.force && !input.dryRun && trigger.source === 'webhook';
  return store.enqueue({
    kind: 'sync',
    trigger,
    input,
    dedupeKey,
    coalesce,
    concurrencyGroup: syncGroup(input.branch),
  });
}
