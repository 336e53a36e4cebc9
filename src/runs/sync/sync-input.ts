/** The input of a sync: what it is meant to do, and to which services. */

import type { PlaceInput } from './place.ts';

/** The services that a sync has to look at. With `changed`, git and the ledger decide. */
export type Selection = { mode: 'changed' } | { mode: 'all' } | { mode: 'services'; services: string[] };

/**
 * `follow` brings the branch up to date; its commit only says where the branch was. `exact` means this commit and no
 * other, and never goes backwards. `back` takes services back to this commit on purpose, and keeps them there. `promote`
 * takes from another environment what it holds at this commit, and never goes backwards.
 */
export type SyncIntent = 'follow' | 'exact' | 'back' | 'promote';

/** What somebody asked to take from another environment, as it was shown before any approval. */
export interface Promotion {
  /** The name of the environment that holds the commit. */
  from: string;
  /** The services that would run, and the commit that each has in the target; null if it was never synced there. */
  services: { service: string; from: string | null }[];
  /** The commits that the target gets, the newest first, as far as they were listed. */
  commits: { id: string; subject: string }[];
  /** True if an admin passes the rule that the other environment holds the commit, and the approval. */
  breakGlass: boolean;
}

/** The run that an approval was for, and what was shown before. */
interface RestOfRun {
  /** The id of the run. */
  of: string;
  /** Empty if the run was no promotion. */
  shown: Promotion['services'];
}

export interface SyncInput extends PlaceInput {
  /** The intent of the run. It is missing in runs of earlier versions, so read it with `meaningOf`. */
  intent?: SyncIntent;
  /** Full commit id, or null for the branch head at work time. */
  revision: string | null;
  /** The commit of the branch before the push, or null. It is only a baseline for services that were never synced. */
  before: string | null;
  selection: Selection;
  /** True if unchanged services run, too. */
  force: boolean;
  /** True if the sync selects and explains, but runs nothing. */
  dryRun: boolean;
  /** Failed services whose next automatic retry is not due yet. */
  postponed: string[];
  /** True if the services are unpinned, so that pushes sync them again. */
  unpin: boolean;
  /** True if an admin lets a rollback pass over holds. */
  overrideHold?: boolean;
  /** Set only with the intent `promote`. */
  promotion?: Promotion;
  /** Set if the run does what holds kept another run from doing, which failed in its other services. */
  rest?: RestOfRun;
  /** True for a request that repeats what an environment has that promotes. */
  repeats?: true;
  /** The reason that somebody gave for a rollback or a promotion. */
  note?: string;
  /** The services that the answer to the request names. They never decide the selection. */
  announced: string[];
}
