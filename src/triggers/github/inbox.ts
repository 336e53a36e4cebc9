/** The record of every delivery to /webhook and of the decision about it. */

import type { Context } from 'hono';
import type { DeliveryDecision } from '../../runs/delivery.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { MINUTE } from '../../units.ts';

/** Anybody can cause a refusal, so more of them in a minute are not stored. */
const REFUSALS_PER_MINUTE = 30;

export interface Inbox {
  /** The id of the delivery, or null when it has not the usual form. */
  idOf(context: Context): string | null;
  eventOf(context: Context): string;
  /** Stores a delivery that is ignored, and returns the answer. Throws StoreUnavailableError. */
  ignored(context: Context, reason: string): Promise<{ status: 'ignored'; reason: string }>;
  /** Stores a delivery that asks for no run. Throws StoreUnavailableError. */
  decided(context: Context, decision: Exclude<DeliveryDecision, 'accepted'>, detail: string): Promise<void>;
  /** Stores a bounded sample of the refused deliveries; never throws, and nobody waits for it. */
  refused(context: Context, detail: string): void;
}

export function createInbox(options: { store: RunStore; now(): number }): Inbox {
  const { store, now } = options;
  let minute = 0;
  let refusals = 0;

  const inbox: Inbox = {
    idOf(context) {
      const id = context.req.header('x-github-delivery') ?? '';
      return /^[\w-]{1,100}$/.test(id) ? id : null;
    },
    eventOf(context) {
      return shownName(context.req.header('x-github-event') ?? '');
    },
    async ignored(context, reason) {
      await inbox.decided(context, 'ignored', reason);
      return { status: 'ignored', reason };
    },
    decided(context, decision, detail) {
      return store.recordDelivery({
        deliveryId: inbox.idOf(context),
        event: inbox.eventOf(context),
        decision,
        detail,
        runId: null,
        request: null,
      });
    },
    refused(context, detail) {
      const current = Math.floor(now() / MINUTE);
      refusals = current === minute ? refusals + 1 : 1;
      minute = current;
      if (refusals > REFUSALS_PER_MINUTE) return;
      // If the store fails, only the record is lost: nothing was promised to this sender.
      inbox.decided(context, 'refused', detail).catch(() => undefined);
    },
  };
  return inbox;
}

/** The name of an event or action. GitHub's own names stay as they are; others are cut to what is safe to show. */
export function shownName(name: string): string {
  return name.replace(/[^\w.-]/g, '').slice(0, 64);
}
