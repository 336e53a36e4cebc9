/** The port to the config hashes outside our own ledger, and what the store remembers of them. */

export interface ConfigHashes {
  /**
   * Reads the hashes of these services. The caller must name every service that has one. Rejects only with the reason of the signal. A
   * service that is not in `found` has a problem of its own, or `failure` says why nothing could be read.
   */
  read(services: readonly string[], signal: AbortSignal): Promise<FoundHashes>;
  /** Writes one hash; `services` are all that have one. Throws RunnerError in words for the page of a run. */
  write(
    hash: { service: string; value: string },
    services: readonly string[],
    signal: AbortSignal,
  ): Promise<void>;
}

export interface FoundHashes {
  /** Lower-case hexadecimal digits; ODD_HASH for any other text; null if there is none. */
  found: Map<string, string | null>;
  /** One sentence for each service whose place could not be found. */
  problems: Map<string, string>;
  failure: string | null;
}

/** Replaces a value that is no hash. It may be anything, so it is never kept or shown. */
export const ODD_HASH = 'no hash';

/** The known state of the config hash of one service outside. */
export interface OutsideHash {
  service: string;
  /** The value that this program wrote there, or found to be right; null if there was none yet. */
  written: string | null;
  /** The value at the last look, as in FoundHashes. */
  found: string | null;
  /** True if somebody else has changed it since. */
  drifted: boolean;
  /** True if a sync has made our value right, and it still has to be written there. */
  owed: boolean;
  /** The time of the last change of the members above, in ms since the epoch; 0 before the first look. */
  since: number;
  /** Why it could not be read or written the last time, or null. */
  problem: string | null;
  /** How often it was repaired in short succession, and the last time. */
  heals: number;
  healedAt: number;
}
