/** Replays a delivery: its request becomes a run once more. */

import { kindOf } from '../runs/kinds/kinds.ts';
import type { Run } from '../runs/run.ts';
import type { RunStore } from '../runs/run-store.ts';

export type ReplayResult =
  | { status: 'accepted'; run: Run }
  | { status: 'refused'; reason: string }
  | { status: 'unknown' };

/**
 * Enqueues the request of the delivery as a new run, however the first run ended. When the run is worked on, its commit
 * is treated like that of any late delivery, so that no service goes back to an older commit.
 */
export async function replayDelivery(
  store: Pick<RunStore, 'delivery' | 'enqueue'>,
  number: number,
  actor: string,
): Promise<ReplayResult> {
  const delivery = await store.delivery(number);
  if (!delivery) return { status: 'unknown' };
  const { request, decision, detail } = delivery;
  if (!request) {
    const reason =
      decision === 'missed'
        ? 'Its content never arrived here: press Redeliver on GitHub.'
        : `There is nothing to replay, because the delivery requested nothing: ${detail}.`;
    return { status: 'refused', reason };
  }
  const whyNot = kindOf(request).whyNotReplayed?.(request.input) ?? null;
  if (whyNot !== null) return { status: 'refused', reason: whyNot };
  const { deliveryId } = request.trigger;
  const trigger = { source: 'replay', actor, deliveryId, retryOf: null } as const;
  const { run } = await store.enqueue({ ...request, trigger, dedupeKey: null });
  return { status: 'accepted', run };
}
