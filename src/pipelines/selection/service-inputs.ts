/** Digests of everything that a service's task depends on, for the ledger. */

import type { LedgerEntry } from '../../runs/run-store.ts';
import { digest, type ServiceAtCommit, type Snapshot } from '../rules/snapshot.ts';

/**
 * The prefix of the form `2:<digest of the task>:<digest of the rest>`. Earlier versions stored one digest, without the
 * task and with regular files only. Such a digest is compared in the same way as those versions did, so that no service
 * runs because of an upgrade.
 */
const FORM = '2:';

type Synced = NonNullable<LedgerEntry['synced']>;

export interface Dependent {
  service: ServiceAtCommit;
  target: Snapshot;
  /** Digest of the environment that tasks get. */
  environmentDigest: string;
}

/** The digest that is stored after a sync. */
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

/** True if the task did not change, or if no task was stored. */
export function hasSameTask({ inputs }: Synced, { service }: Dependent): boolean {
  return !inputs.startsWith(FORM) || inputs.startsWith(`${FORM}${taskDigest(service)}:`);
}

function taskDigest({ task }: ServiceAtCommit): string {
  return digest([task ?? '']);
}
