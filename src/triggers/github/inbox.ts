/** The record of every delivery to /webhook and what was decided about it. */

import type { Context } from 'hono';
import type { DeliveryDecision } from '../../runs/delivery.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { MINUTE } from '../../units.ts';

/** Refusals kept per minute; anybody can cause one, so more are only counted. */
const REFUSALS_PER_MINUTE = 30;

export interface Inbox {
  /** The delivery's id, or null when it has none of the usual form. */
  idOf(context: Context): string | null;
  eventOf(context: Context): string;
  /** Stores a delivery that asks for no run; throws StoreUnavailableError. */
  decided(context: Context, decision: Exclude<DeliveryDecision, 'accepted'>, detail: string): Promise<void>;
  /** Stores a bounded sample of what was refused; never throws and keeps nobody waiting. */
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
      return shownEvent(context.req.header('x-github-event') ?? '');
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
      // A store that cannot take it has told so to those who were promised something.
      inbox.decided(context, 'refused', detail).catch(() => undefined);
    },
  };
  return inbox;
}

/** GitHub's own event names stay as they are; anything else is cut to what is safe to show. */
function shownEvent(event: string): string {
  return event.replace(/[^\w.-]/g, '').slice(0, 64);
}
