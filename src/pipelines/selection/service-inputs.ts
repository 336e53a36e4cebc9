/** What a service's task depends on, as it is stored in the ledger and compared with it. */

import type { LedgerEntry } from '../../runs/run-store.ts';
import { digest, type ServiceAtCommit, type Snapshot } from '../rules/snapshot.ts';

/**
 * Stands before what this version stores, which is `2:<digest of the task>:<digest of the rest>`. Earlier versions
 * stored one digest, without the task, and knew only regular files among what is shared. What they stored is
 * compared as they would have done, so that an upgrade runs nothing.
 */
const FORM = '2:';

type Synced = NonNullable<LedgerEntry['synced']>;

export interface Dependent {
  service: ServiceAtCommit;
  target: Snapshot;
  /** Digest of the environment that tasks get. */
  environmentDigest: string;
}

/** Everything that the task depends on, to be stored. */
export function inputsOf({ service, environmentDigest }: Dependent): string {
  const rest = digest([service.folder, service.tree, service.shared, environmentDigest]);
  return `${FORM}${taskDigest(service)}:${rest}`;
}

export function hasSameInputs(stored: string, dependent: Dependent): boolean {
  if (stored.startsWith(FORM)) return stored === inputsOf(dependent);
  const { service, target, environmentDigest } = dependent;
  const shared = target.sharedAsStoredBefore(service.id);
  return stored === digest([service.folder, service.tree, shared, environmentDigest]);
}

export function hasSameShared({ inputs, shared }: Synced, { service, target }: Dependent): boolean {
  return shared === (inputs.startsWith(FORM) ? service.shared : target.sharedAsStoredBefore(service.id));
}

/** True as well when the task was not stored. */
export function hasSameTask({ inputs }: Synced, { service }: Dependent): boolean {
  return !inputs.startsWith(FORM) || inputs.startsWith(`${FORM}${taskDigest(service)}:`);
}

function taskDigest({ task }: ServiceAtCommit): string {
  return digest([task ?? '']);
}
