/** The only way into the store for a run: turns the request of a trigger into a stored run. */

import type { NewDelivery } from './delivery.ts';
import { kindOf } from './kinds/kinds.ts';
import { syncInput } from './kinds/sync.ts';
import type { Run, RunInputs, RunKind, RunRequest, Trigger } from './run.ts';
import type { Nonce, RunStore } from './run-store.ts';
import type { SyncInput } from './sync/sync-input.ts';

interface Ask<K extends RunKind>
  extends Partial<Pick<RunRequest, 'dedupeKey' | 'priority' | 'labels' | 'approval' | 'subject'>> {
  trigger: Pick<Trigger, 'source'> & Partial<Trigger>;
  input: RunInputs[K];
  /** The delivery of the request, stored in the same transaction. */
  delivery?: Pick<NewDelivery, 'event' | 'detail'>;
  /** The sealed secrets of the request. */
  sealed?: string | undefined;
  /** The nonce is spent with the run, so that a request that could not be stored can be sent again. */
  nonce?: Nonce | undefined;
  /** False for a push that does not contain the earlier pushes, whose outcome it cannot give. */
  covers?: boolean;
}

export interface SyncRequest extends Omit<Ask<'sync'>, 'input'> {
  /** A member that is left out is null, false or empty. */
  input: Pick<SyncInput, 'branch' | 'selection'> & Partial<SyncInput>;
}

const NOBODY: Omit<Trigger, 'source'> = { actor: null, deliveryId: null, retryOf: null };

/**
 * Stores a run. When it resolves, the run is on the disk. Throws StoreUnavailableError if the run could not be stored.
 */
export function enqueueRun<K extends RunKind>(
  store: Pick<RunStore, 'enqueue'>,
  kind: K,
  { input, delivery, sealed, nonce, covers = true, ...asked }: Ask<K>,
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

function accepted({ deliveryId }: Trigger, delivery: Ask<RunKind>['delivery']): NewDelivery | undefined {
  return delivery && { ...delivery, deliveryId, decision: 'accepted', runId: null, request: null };
}
