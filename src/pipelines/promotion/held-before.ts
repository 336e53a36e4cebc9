/** Looks in the past of an environment for the inputs of a service that has other ones there now. */

import type { RepositoryReader } from '../../git/read/repository-reader.ts';
import type { Rules } from '../rules/service-rules.ts';
import { type ServiceAtCommit, snapshotAt } from '../rules/snapshot.ts';

/** Each commit costs a listing, so older ones are not compared. */
const MAX_COMMITS = 8;

export interface Past {
  repository: RepositoryReader;
  /** The rules at the commit that is to be promoted, for the environment that holds. */
  rules: Rules;
  /** The commits at which the environment has synced each service, the newest first. */
  syncedBefore(): Promise<ReadonlyMap<string, readonly string[]>>;
}

/** True if the environment has once synced the service with the inputs that it has at `revision`. */
export async function wasHeld(past: Past, service: ServiceAtCommit, revision: string): Promise<boolean> {
  const commits = (await past.syncedBefore()).get(service.id) ?? [];
  if (commits.includes(revision)) return true;
  const recent = commits.slice(0, MAX_COMMITS);
  const located = await past.repository.locate(recent);
  for (const commit of recent.filter((one) => located.get(one) !== 'missing')) {
    const { byId } = await snapshotAt(past, commit);
    if (hasSameInputs(byId.get(service.id), service)) return true;
  }
  return false;
}

function hasSameInputs(was: ServiceAtCommit | undefined, service: ServiceAtCommit): boolean {
  return (
    was?.folder === service.folder &&
    was.tree === service.tree &&
    was.shared === service.shared &&
    was.texts === service.texts
  );
}
