/** What people do to a delivery: have what it asked for done again. */

import { kindOf } from '../runs/kinds/kinds.ts';
import type { Run } from '../runs/run.ts';
import type { RunStore } from '../runs/run-store.ts';

export type ReplayResult =
  | { status: 'accepted'; run: Run }
  | { status: 'refused'; reason: string }
  | { status: 'unknown' };

/**
 * Enqueues what the delivery asked for as a new run, whatever became of the first. The commit is judged again at
 * work time like that of any late delivery, so nothing goes back that was synced at a newer one meanwhile.
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
        ? 'What it carried never arrived here: press Redeliver on GitHub.'
        : `There is nothing to replay, as it asked for nothing: ${detail}.`;
    return { status: 'refused', reason };
  }
  const whyNot = kindOf(request).whyNotReplayed?.(request.input) ?? null;
  if (whyNot !== null) return { status: 'refused', reason: whyNot };
  const { deliveryId } = request.trigger;
  const trigger = { source: 'replay', actor, deliveryId, retryOf: null } as const;
  const { run } = await store.enqueue({ ...request, trigger, dedupeKey: null });
  return { status: 'accepted', run };
}
