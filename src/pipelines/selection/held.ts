/** Keeps services from running that a hold stops. Pure. */

import { becauseHeld, type Hold, heldBy, holdsOf } from '../../runs/sync/hold.ts';
import type { Selected } from './select-services.ts';

/** Returns the decisions, with `held` instead of `run` for services that a hold stops. */
export function holdServices(selected: readonly Selected[], holds: readonly Hold[]): Selected[] {
  return selected.map((item) => {
    const [hold] = item.decision === 'run' ? holdsOf(item.service, holds) : [];
    return hold ? { ...item, decision: 'held', because: `${becauseHeld(hold)} ${item.because}` } : item;
  });
}

export interface HeldBack {
  services: string[];
  /** The ids of the holds that stop some of the services. */
  holds: string[];
  /** The words about the oldest of the holds. */
  message: string;
}

/** Returns what the holds keep from running, or null if that is nothing. */
export function heldBack(selected: readonly Selected[], holds: readonly Hold[]): HeldBack | null {
  const services = selected.filter(({ decision }) => decision === 'held').map(({ service }) => service);
  const stopping = holds.filter((hold) => services.some((service) => holdsOf(service, [hold]).length > 0));
  const [oldest] = stopping;
  return oldest ? { services, holds: stopping.map(({ id }) => id), message: heldBy(oldest) } : null;
}

/** Says which holds a request passes over, one sentence for each. */
export function passedOver(selected: readonly Selected[], holds: readonly Hold[]): string[] {
  const running = selected.filter(({ decision }) => decision === 'run');
  return holds
    .filter((hold) => running.some(({ service }) => holdsOf(service, [hold]).length > 0))
    .map((hold) => `The request passes over a hold. ${heldBy(hold)}`);
}
