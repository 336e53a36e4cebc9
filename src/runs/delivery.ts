/** What came in from GitHub and what was decided about it. */

import type { RunRequest } from './run.ts';

export type DeliveryDecision = 'accepted' | 'duplicate' | 'no_changes' | 'ignored' | 'refused' | 'missed';

export interface NewDelivery {
  /** X-GitHub-Delivery, or null when there was none. */
  deliveryId: string | null;
  /** X-GitHub-Event, cut to what is safe to show. */
  event: string;
  decision: DeliveryDecision;
  /** One sentence: why, or what was asked for. Nothing of an unauthenticated body beyond a short sample. */
  detail: string;
  runId: string | null;
  /** What it asked for, so that it can be replayed. */
  request: RunRequest | null;
}

/** As stored; `number` orders deliveries and names them, since GitHub sends one id again on a redelivery. */
export interface Delivery extends NewDelivery {
  number: number;
  receivedAt: number;
}
