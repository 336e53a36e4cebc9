/** The port to where config hashes also stand outside of our own ledger, and what is remembered of them. */

export interface ConfigHashes {
  /**
   * What stands there now for these services, which are all that have one. Never rejects but with the signal's
   * reason: a service that is not in `found` has a problem of its own, or `failure` says why nothing could be read.
   */
  read(services: readonly string[], signal: AbortSignal): Promise<FoundHashes>;
  /** Writes one; `services` are all that there are. Throws RunnerError, in words for a run's page. */
  write(
    hash: { service: string; value: string },
    services: readonly string[],
    signal: AbortSignal,
  ): Promise<void>;
}

export interface FoundHashes {
  /** Lower-case hexadecimal digits, ODD_HASH for any other text, null where there is none. */
  found: Map<string, string | null>;
  /** One sentence for each service whose place could not be told. */
  problems: Map<string, string>;
  failure: string | null;
}

/** Stands for a value that is no hash: it may be anything, so it is never kept or shown. */
export const ODD_HASH = 'no hash';

/** What is known of one service's config hash outside. */
export interface OutsideHash {
  service: string;
  /** The value we wrote there or found as it should be, or null when there was none yet. */
  written: string | null;
  /** The value last seen there, as in FoundHashes. */
  found: string | null;
  /** True when somebody else changed it since. */
  drifted: boolean;
  /** True when a sync has made ours right and it is yet to be written, whatever stands there. */
  owed: boolean;
  /** When the members above became what they are, in ms since the epoch; 0 before the first look. */
  since: number;
  /** Why it could not be read or written the last time, or null. */
  problem: string | null;
  /** How often it was put right in short succession, and when last. */
  heals: number;
  healedAt: number;
}
