/** What a place has: which services are at the head of what it follows, and what keeps the others. */

export const SERVICE_STATES = [
  'up_to_date',
  'behind',
  'syncing',
  'failed',
  'blocked',
  'pinned',
  'held',
  'never',
] as const;

/**
 * Where a service stands. `behind`: a sync of the head would run it. `failed`: its last task failed. `blocked`: it needs a
 * service that failed. `held` and `pinned`: a hold or a rollback keeps it from running. `never`: it was never synced.
 */
export type ServiceState = (typeof SERVICE_STATES)[number];

export interface ServiceStanding {
  service: string;
  folder: string;
  wave: number;
  state: ServiceState;
  /** One sentence that says why. */
  message: string;
  /** The commit of the last sync that succeeded, and its time in milliseconds since the epoch. */
  synced: { commit: string; at: number } | null;
  /** The commits that the head has and the synced commit has not; null if nobody knows. 0 for a service that is up to date. */
  behindBy: number | null;
  /** The run that tried it last. */
  lastRunId: string | null;
  /** The commit that a rollback keeps it at. */
  pin: string | null;
  /** The ids of the services that it needs, and of those that need it. */
  needs: readonly string[];
  neededBy: readonly string[];
}

/** Everything about a place at one moment. */
export interface Standing {
  /** Null before the first fetch. */
  head: { commit: string; subject: string } | null;
  /** In the order of their waves, and by id within one. */
  services: readonly ServiceStanding[];
  /** What is wrong with the rules at the head, one sentence each. */
  remarks: readonly string[];
  /** Why the services at the head are not known, or null. The services are empty then. */
  problem: string | null;
}
