/** Defines the places that requests may name, and what those that promote may take. */

import type { Ledger } from '../../runs/run-store.ts';
import type { Place } from '../../runs/sync/place.ts';
import type { ApprovalRules, Proposal } from '../../runs/sync/promotion.ts';
import type { ServiceIds } from '../service-ids.ts';

/** The rules of a place that promotes, and what it would take. */
export interface Promoting extends ApprovalRules {
  /** The environment that has to hold what is promoted. */
  from: string;
  /** `services` limits it to these; null stands for all. Throws GitError. */
  propose(revision: string, services: readonly string[] | null): Promise<Proposal>;
  /** For the newest commit that `from` holds completely; null if it holds none. */
  proposeNewest(services: readonly string[] | null): Promise<Proposal | null>;
  /** The ledger of the place. */
  taken(): Promise<Ledger>;
  /** Says whether the commit is the one that the service has, or an older one at which the place had it. */
  ageOf(service: string, revision: string): Promise<'same' | 'older' | 'other'>;
  /** The services that neither environment has proven at the commit. `services` null stands for all. */
  unproven(revision: string, services: readonly string[] | null): Promise<Proposal['unheld']>;
  approvalTimeoutMs: number;
}

/** A place that requests may name. */
export interface PromotePlace {
  place: Place;
  /** The services of the branch. Fetches the branch when it does not know one of `named`. */
  services(named: readonly string[]): Promise<ServiceIds>;
  /** Resolves to whether a commit is on the branch. */
  isOnBranch(revision: string): Promise<boolean>;
  /** Resolves to the commits of the branch whose ids begin with these hexadecimal digits. */
  commitsBeginningWith(digits: string): Promise<string[]>;
  /** Null: the place follows by itself, and takes no promotions. */
  promoting: Promoting | null;
}
