/** Looks in the past of an environment for the inputs that services have at a commit. */

import type { RepositoryReader } from '../../git/read/repository-reader.ts';
import { loadRules } from '../rules/load-rules.ts';
import { type ServiceAtCommit, snapshotAt } from '../rules/snapshot.ts';

/** Each commit costs a listing, so older ones are not compared. */
const MAX_COMMITS = 12;

type Services = ReadonlyMap<string, ServiceAtCommit>;

/** The past of an environment. What was read of it is remembered, for one question. */
export interface Past {
  /** Of these services, those that the environment has once synced with the inputs that they have at `revision`. */
  synced(services: readonly string[], revision: string): Promise<ReadonlySet<string>>;
}

interface PastOptions {
  repository: RepositoryReader;
  environment: string;
  /** The commits at which the environment has synced each service, the newest first. */
  syncedBefore(): Promise<ReadonlyMap<string, readonly string[]>>;
}

export function createPast({ repository, environment, syncedBefore }: PastOptions): Past {
  let known: ReturnType<PastOptions['syncedBefore']> | null = null;
  let recent: Promise<Map<string, Services>> | null = null;

  async function synced(services: readonly string[], revision: string): Promise<Set<string>> {
    known ??= syncedBefore();
    const commits = await known;
    const found = new Set(services.filter((service) => commits.get(service)?.includes(revision)));
    const others = services.filter((service) => !found.has(service) && commits.has(service));
    if (others.length === 0) return found;
    recent ??= readRecent(commits);
    const [past, now] = await Promise.all([recent, servicesAt(revision)]);
    for (const service of others) {
      const at = commits.get(service) ?? [];
      const isSame = at.some((commit) => hasSameInputs(past.get(commit)?.get(service), now.get(service)));
      if (isSame) found.add(service);
    }
    return found;
  }

  /** Reads the newest commits that some service was synced at. */
  async function readRecent(commits: ReadonlyMap<string, readonly string[]>): Promise<Map<string, Services>> {
    const newest = [...new Set([...commits.values()].flatMap((list) => list.slice(0, 2)))].slice(
      0,
      MAX_COMMITS,
    );
    const located = await repository.locate(newest);
    const read = new Map<string, Services>();
    for (const commit of newest.filter((one) => located.get(one) !== 'missing')) {
      read.set(commit, await servicesAt(commit));
    }
    return read;
  }

  /** The rules of each commit count, because they say what a sync does. */
  async function servicesAt(commit: string): Promise<Services> {
    const { rules } = await loadRules(repository, commit, null, environment);
    return (await snapshotAt({ repository, rules }, commit)).byId;
  }

  return { synced };
}

function hasSameInputs(was: ServiceAtCommit | undefined, now: ServiceAtCommit | undefined): boolean {
  return (
    was !== undefined &&
    was.folder === now?.folder &&
    was.tree === now.tree &&
    was.shared === now.shared &&
    was.texts === now.texts
  );
}
