/** The one way into the store: from what a trigger understood to a stored run. */

import type { NewDelivery } from './delivery.ts';
import { kindOf } from './kinds/kinds.ts';
import { syncInput } from './kinds/sync.ts';
import type { Run, RunInputs, RunKind, RunRequest, SyncInput, Trigger } from './run.ts';
import type { Nonce, RunStore } from './run-store.ts';

interface Asked<K extends RunKind> extends Partial<Pick<RunRequest, 'dedupeKey' | 'priority' | 'labels'>> {
  trigger: Pick<Trigger, 'source'> & Partial<Trigger>;
  input: RunInputs[K];
  /** The delivery behind it, stored in the same transaction. */
  delivery?: Pick<NewDelivery, 'event' | 'detail'>;
  /** What no file may show, as text that only we can open. */
  sealed?: string | undefined;
  /** Spent with the run, so that a request which could not be stored can be sent again. */
  nonce?: Nonce | undefined;
  /** False for a push that does not contain those before it: their outcome is not its own. */
  covers?: boolean;
}

export interface SyncRequest extends Omit<Asked<'sync'>, 'input'> {
  /** What is left out is null, false or empty. */
  input: Pick<SyncInput, 'branch' | 'selection'> & Partial<SyncInput>;
}

const NOBODY: Omit<Trigger, 'source'> = { actor: null, deliveryId: null, retryOf: null };

/**
 * Stores a run. When it resolves the run is on the disk; it throws StoreUnavailableError when that could not be done.
 */
export function enqueueRun<K extends RunKind>(
  store: Pick<RunStore, 'enqueue'>,
  kind: K,
  { input, delivery, sealed, nonce, covers = true, ...asked }: Asked<K>,
): Promise<{ run: Run; created: boolean }> {
  const trigger: Trigger = { ...NOBODY, ...asked.trigger };
  const rules = kindOf({ kind });
  const request = {
    ...asked,
    kind,
    trigger,
    input,
    dedupeKey: asked.dedupeKey ?? rules.dedupeKey?.(input) ?? null,
    coalesce: covers && (rules.coalescing?.covers({ trigger, input }) ?? false),
    concurrencyGroup: rules.group(input),
  };
  // The compiler does not see that the input is one of this kind.
  return store.enqueue(request as RunRequest, { delivery: accepted(trigger, delivery), sealed, nonce });
}

export function enqueueSync(
  store: Pick<RunStore, 'enqueue'>,
  { input, ...asked }: SyncRequest,
): Promise<{ run: Run; created: boolean }> {
  const trigger: Trigger = { ...NOBODY, ...asked.trigger };
  return enqueueRun(store, 'sync', { ...asked, trigger, input: syncInput(trigger, input) });
}

function accepted({ deliveryId }: Trigger, delivery: Asked<RunKind>['delivery']): NewDelivery | undefined {
  return delivery && { ...delivery, deliveryId, decision: 'accepted', runId: null, request: null };
}
