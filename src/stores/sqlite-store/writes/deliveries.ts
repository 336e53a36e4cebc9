/** Deliveries: each with what was decided about it. */

import type { NewDelivery } from '../../../runs/delivery.ts';
import type { Database } from '../database.ts';
import type { Written } from './written.ts';

export function recordDelivery(database: Database, delivery: NewDelivery): Written<null> {
  const { deliveryId, event, decision, detail, runId, request } = delivery;
  database.run(
    `INSERT INTO deliveries (delivery_id, event, received_at, decision, detail, run, request)
     VALUES (?, ?, ?, ?, ?, ?, ?)`,
    deliveryId,
    event,
    Date.now(),
    decision,
    detail,
    runId,
    request && JSON.stringify(request),
  );
  if (decision === 'refused') dropOldRefusals(database);
  return { result: null, changed: [] };
}

export function recordMissed(database: Database, missed: readonly NewDelivery[]): Written<number> {
  const unknown = missed.filter(
    ({ deliveryId }) =>
      deliveryId !== null &&
      !database.get('SELECT 1 FROM deliveries WHERE delivery_id = ? LIMIT 1', deliveryId),
  );
  for (const delivery of unknown) recordDelivery(database, delivery);
  return { result: unknown.length, changed: [] };
}

/** Anybody can cause refusals, so only the latest are kept. */
function dropOldRefusals(database: Database): void {
  database.run(
    `DELETE FROM deliveries WHERE decision = 'refused' AND number <= (
       SELECT number FROM deliveries WHERE decision = 'refused' ORDER BY number DESC LIMIT 1 OFFSET 1000)`,
  );
}
