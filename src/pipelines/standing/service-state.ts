/** Decides in which state a service of a place is, from what a sync of the head would do and from the ledger. Pure. */

import type { LedgerEntry } from '../../runs/run-store.ts';
import type { ServiceState } from '../../runs/sync/standing.ts';
import type { Selected } from '../selection/select-services.ts';

export interface StateInput {
  /** What a sync of the head would do with the service. */
  selected: Pick<Selected, 'decision' | 'because'>;
  entry: LedgerEntry | null;
  /** The commit that a rollback keeps it at, or null. */
  pin: string | null;
  /** True while its task runs. */
  isSyncing: boolean;
}

/** Returns null for a service that is not at this place: one that never runs there, or that was removed. */
export function serviceState(input: StateInput): ServiceState | null {
  const { selected, entry, pin, isSyncing } = input;
  if (selected.decision === 'excluded') return null;
  if (selected.decision === 'removed' && entry?.outcome === 'removed') return null;
  if (isSyncing) return 'syncing';
  if (entry?.outcome === 'failed' || selected.decision === 'invalid') return 'failed';
  if (pin !== null) return 'pinned';
  if (selected.decision === 'held' || selected.decision === 'blocked') return selected.decision;
  if (selected.decision !== 'run' && selected.decision !== 'removed') return 'up_to_date';
  return entry?.synced ? 'behind' : 'never';
}
