/** A delivery of GitHub, and the decision about it. */

import type { RunRequest } from './run.ts';

/** `missed` is a delivery that GitHub could not make, and that was found in GitHub's own list. */
export const DELIVERY_DECISIONS = [
  'accepted',
  'duplicate',
  'no_changes',
  'ignored',
  'refused',
  'missed',
] as const;

export type DeliveryDecision = (typeof DELIVERY_DECISIONS)[number];

/** The key of the run that plans a pull request, beside the run of its preview. */
export function planDedupeKey(deliveryId: string): string {
  return `delivery:${deliveryId}:plan`;
}

export interface NewDelivery {
  /** X-GitHub-Delivery, or null if there was none. */
  deliveryId: string | null;
  /** X-GitHub-Event, cut to what is safe to show. */
  event: string;
  decision: DeliveryDecision;
  /** One sentence about the decision or the request. It quotes at most a short part of an unauthenticated body. */
  detail: string;
  runId: string | null;
  /** The request for a run, so that it can be replayed. */
  request: RunRequest | null;
}

/** A stored delivery. `number` orders deliveries and names them, since a redelivery has the same id. */
export interface Delivery extends NewDelivery {
  number: number;
  receivedAt: number;
}
