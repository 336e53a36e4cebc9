/** Digests of everything that a service's task depends on, for the ledger. */

import type { LedgerEntry } from '../../runs/run-store.ts';
import type { Service } from '../rules/service-rules.ts';
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
  environmentDigest(service: Service): string;
}

/** The digest that is stored after a sync. */
export function inputsOf({ service, environmentDigest }: Dependent): string {
  const rest = digest([service.folder, service.tree, service.shared, environmentDigest(service)]);
  return `${FORM}${service.texts}:${rest}`;
}

export function hasSameInputs(stored: string, dependent: Dependent): boolean {
  if (stored.startsWith(FORM)) return stored === inputsOf(dependent);
  const { service, target, environmentDigest } = dependent;
  const shared = target.sharedAsStoredBefore(service.id);
  return stored === digest([service.folder, service.tree, shared, environmentDigest(service)]);
}

export function hasSameShared({ inputs, shared }: Synced, { service, target }: Dependent): boolean {
  return shared === (inputs.startsWith(FORM) ? service.shared : target.sharedAsStoredBefore(service.id));
}

export function hasStoredTexts({ inputs }: Synced): boolean {
  return inputs.startsWith(FORM);
}

/** The last success, as if it had been stored by the present rules. A change of the environment stays visible. */
export function syncedAs(synced: Synced, dependent: Dependent): Synced {
  const { service } = dependent;
  const { tree, shared } = synced;
  const isSameEnvironment =
    synced.inputs === inputsOf({ ...dependent, service: { ...service, tree, shared } });
  const inputs = isSameEnvironment ? inputsOf(dependent) : synced.inputs;
  return { ...synced, tree: service.tree, shared: service.shared, inputs };
}

/** True if the texts of the rule did not change, or if none were stored. */
export function hasSameTexts({ inputs }: Synced, { service }: Dependent): boolean {
  return !inputs.startsWith(FORM) || inputs.startsWith(`${FORM}${service.texts}:`);
}
