/** Defines a hold, which stops syncs, and decides what it stops. Pure. */

import { isSameRepository, type Place } from './place.ts';

/** Somebody stopped what would change something. A hold stands until its end, or until somebody releases it. */
export interface Hold {
  id: string;
  /** The repository that it holds. Null: every repository. */
  repository: string | null;
  /** The environment that it holds. Null: every environment. */
  environment: string | null;
  /** The services that it holds. Null: every service. */
  services: string[] | null;
  reason: string;
  /** The name of the person or program that set it. */
  by: string;
  /** Milliseconds since the epoch. */
  createdAt: number;
  /** The time at which it ends by itself; null if somebody has to release it. */
  until: number | null;
}

export type NewHold = Omit<Hold, 'id' | 'createdAt'>;

/** A store keeps no more holds than this at a time, because each sync reads all of them. */
export const MAX_HOLDS = 1_000;

/** The `notBefore` of a run that waits for the end of a hold. No clock reaches it, so only that end starts the run. */
export const UNTIL_RELEASED = 8_640_000_000_000_000;

/** The message of a run that waits for the end of the hold. */
export function heldBy({ by, reason }: Pick<Hold, 'by' | 'reason'>): string {
  return `Held by ${by}: ${reason}`;
}

/** The name by which requests mean the environment that has none. */
export const DEFAULT_ENVIRONMENT = 'default';

/** Returns the holds that are for a place, in their order. */
export function holdsAt(
  { repository, environment }: Pick<Place, 'repository' | 'environment'>,
  holds: readonly Hold[],
): Hold[] {
  const named = environment ?? DEFAULT_ENVIRONMENT;
  return holds.filter(
    (hold) =>
      (hold.repository === null || isSameRepository(hold.repository, repository)) &&
      (hold.environment === null || hold.environment === named),
  );
}

/** Returns the holds that stop a service, in their order. */
export function holdsOf(service: string, holds: readonly Hold[]): Hold[] {
  return holds.filter(({ services }) => services === null || services.includes(service));
}

/** Says in a sentence why a service does not run, and when the hold ends. */
export function becauseHeld(hold: Hold): string {
  return `${heldBy(hold)} (${endOf(hold)}).`;
}

function endOf({ until }: Hold): string {
  return until === null ? 'until somebody releases it' : `until ${new Date(until).toISOString()}`;
}
