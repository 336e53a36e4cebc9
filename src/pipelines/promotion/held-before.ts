/** Looks in the past of an environment for the inputs that a service has at a commit. */

import type { RepositoryReader } from '../../git/read/repository-reader.ts';
import { loadRules } from '../rules/load-rules.ts';
import { type ServiceAtCommit, snapshotAt } from '../rules/snapshot.ts';

/** Each commit costs a listing, so older ones are not compared. */
const MAX_COMMITS = 8;

export interface Past {
  repository: RepositoryReader;
  environment: string;
  /** The commits at which the environment has synced each service, the newest first. */
  syncedBefore(): Promise<ReadonlyMap<string, readonly string[]>>;
}

/** True if the environment has once synced the service with the inputs that it has at `revision`. */
export async function wasSynced(
  past: Past,
  service: Pick<ServiceAtCommit, 'id'>,
  revision: string,
): Promise<boolean> {
  const commits = (await past.syncedBefore()).get(service.id) ?? [];
  if (commits.includes(revision)) return true;
  const recent = commits.slice(0, MAX_COMMITS);
  const located = await past.repository.locate([revision, ...recent]);
  const wanted = recent.length > 0 ? await serviceAt(past, service.id, revision) : undefined;
  if (!wanted) return false;
  for (const commit of recent.filter((one) => located.get(one) !== 'missing')) {
    if (hasSameInputs(await serviceAt(past, service.id, commit), wanted)) return true;
  }
  return false;
}

/** The rules of each commit count, because they say what a sync does. */
async function serviceAt(
  { repository, environment }: Past,
  id: string,
  commit: string,
): Promise<ServiceAtCommit | undefined> {
  const { rules } = await loadRules(repository, commit, null, environment);
  return (await snapshotAt({ repository, rules }, commit)).byId.get(id);
}

function hasSameInputs(was: ServiceAtCommit | undefined, service: ServiceAtCommit): boolean {
  return (
    was?.folder === service.folder &&
    was.tree === service.tree &&
    was.shared === service.shared &&
    was.texts === service.texts
  );
}
