/** Stores deliveries, each with the decision about it. */

import type { NewDelivery } from '../../../runs/delivery.ts';
import type { Transaction, Written } from '../database.ts';

const KEPT_REFUSALS = 1_000;

export async function recordDelivery(
  transaction: Transaction,
  delivery: NewDelivery,
): Promise<Written<null>> {
  await insertDeliveries(transaction, [delivery]);
  if (delivery.decision === 'refused') await dropOldRefusals(transaction);
  return { result: null, changed: [] };
}

export async function insertDeliveries(
  transaction: Transaction,
  deliveries: readonly NewDelivery[],
): Promise<void> {
  const now = await transaction.now();
  await transaction.insert(
    'deliveries',
    deliveries.map(({ deliveryId, event, decision, detail, runId, request }) => ({
      delivery_id: deliveryId,
      event,
      received_at: now,
      decision,
      detail,
      run: runId,
      request: request && JSON.stringify(request),
    })),
  );
}

export async function recordMissed(
  transaction: Transaction,
  missed: readonly NewDelivery[],
): Promise<Written<number>> {
  let recorded = 0;
  for (const delivery of missed) {
    if (delivery.deliveryId === null) continue;
    const sql = 'SELECT 1 AS known FROM deliveries WHERE delivery_id = ? LIMIT 1';
    if (await transaction.get(sql, delivery.deliveryId)) continue;
    await recordDelivery(transaction, delivery);
    recorded += 1;
  }
  return { result: recorded, changed: [] };
}

/** Anybody can cause refusals, so only the latest are kept. */
async function dropOldRefusals(transaction: Transaction): Promise<void> {
  await transaction.run(
    `DELETE FROM deliveries WHERE decision = 'refused' AND number <= (
       SELECT number FROM deliveries WHERE decision = 'refused' ORDER BY number DESC LIMIT 1 OFFSET ?)`,
    KEPT_REFUSALS,
  );
}
