/** The services at a commit, and the ids of everything that they depend on. */

import { eachInTurns } from '../../event-loop.ts';
import type { TreeEntry } from '../../git/own/mirror.ts';
import type { RepositoryReader } from '../../git/read/repository-reader.ts';
import { createCommitMemory, type Remember } from './commit-memory.ts';
import { createDiscovery, type DuplicateService, type Found } from './discover-services.ts';
import { createInputFiles, dependOnFolders } from './input-files.ts';
import { RULES_FILE, type Rules, type Service } from './service-rules.ts';
import { configOf } from './service-texts.ts';
import { createSharedFiles } from './shared-files.ts';
import { readEntries, SHADOWING_FILE } from './snapshot-entries.ts';

export { isDigestOfFiles } from './input-files.ts';
export { digest } from './shared-files.ts';

export interface ServiceAtCommit extends Service {
  /** The tree id of the folder, or a digest of the inputs. Equal ones mean that all files of the service are equal. */
  tree: string;
  /** The blob ids of the files that the config hash covers, in order. Null for a file that does not exist. */
  config: (string | null)[];
  /** The digest of the shared files that it depends on, including links, submodules and modes. */
  shared: string;
}

export interface Snapshot {
  commit: string;
  /** Sorted by wave, then by id. */
  services: ServiceAtCommit[];
  byId: ReadonlyMap<string, ServiceAtCommit>;
  duplicates: DuplicateService[];
  /** All services, also those that share an id, in no order. */
  claimed: readonly Service[];
  /** The blob id of the repository's own rules, or null. */
  rulesFile: string | null;
  /** True if the repository has a `platform/__init__.py`, which hides Python's own module. */
  shadowsPlatform: boolean;
  /** The digest that earlier versions stored as `shared`: of regular files only, without their modes. */
  sharedAsStoredBefore(service: string): string;
}

const COMPOSE_FILES = ['compose.yaml', 'compose.yml', 'docker-compose.yaml', 'docker-compose.yml'];

const LINK = '120000';

/** Only regular files count, so a link called deploy.py makes no service. */
function isFile(entry: TreeEntry): boolean {
  return entry.mode === '100644' || entry.mode === '100755';
}

/** The last snapshots, by rules, repository and commit. */
const snapshots = new WeakMap<Rules, Remember<Snapshot>>();

export function snapshotAt(
  { repository, rules }: { repository: RepositoryReader; rules: Rules },
  revision: string,
): Promise<Snapshot> {
  const remember = snapshots.get(rules) ?? createCommitMemory<Snapshot>();
  snapshots.set(rules, remember);
  return remember(repository, revision, () => readSnapshot(repository, rules, revision));
}

/** Starts three git processes, and one more if a file for a config hash is a link. */
async function readSnapshot(repository: RepositoryReader, rules: Rules, revision: string): Promise<Snapshot> {
  const entries = await readEntries(repository, rules, revision, COMPOSE_FILES);
  const services = createDiscovery(rules);
  await eachInTurns(entries, (entry) => {
    if (isFile(entry)) services.add(entry.path);
  });
  const builder = createBuilder(rules, services.found());
  await eachInTurns(entries, builder.add);
  return builder.finish(revision, await repository.followLinks(revision, builder.links()));
}

/**
 * Pure. The entries must include all shared files, the folders of the services, and the files in them that count. `links`
 * contains the ids of files by the paths of the links that lead to them.
 */
export function snapshotOf(
  commit: string,
  entries: readonly TreeEntry[],
  rules: Rules,
  links: ReadonlyMap<string, string> = new Map(),
): Snapshot {
  const services = createDiscovery(rules);
  for (const entry of entries) if (isFile(entry)) services.add(entry.path);
  const builder = createBuilder(rules, services.found());
  for (const entry of entries) builder.add(entry);
  return builder.finish(commit, links);
}

/** Builds a snapshot. An entry may be added several times, because several listings may contain it. */
function createBuilder(rules: Rules, { services, duplicates, claimed }: Found) {
  const shared = createSharedFiles(rules);
  const inputs = dependOnFolders(rules) ? null : createInputFiles(rules, services);
  const ids = new Map<string, string>();
  const trees = new Map<string, string>();
  const linkPaths = new Set<string>();
  function add(entry: TreeEntry): void {
    if (entry.type !== 'tree') {
      shared.add(entry);
      inputs?.add(entry);
    }
    if (entry.type === 'tree') trees.set(entry.path, entry.id);
    else if (isFile(entry)) ids.set(entry.path, entry.id);
    else if (entry.mode === LINK) linkPaths.add(entry.path);
  }
  /** The links among the files that config hashes cover. */
  function links(): string[] {
    if (linkPaths.size === 0) return [];
    const paths = services.flatMap((service) => configPaths(service));
    // git reads one path from each line.
    return paths.filter((path) => linkPaths.has(path) && !path.includes('\n'));
  }
  function finish(commit: string, linked: ReadonlyMap<string, string>): Snapshot {
    const digests = shared.digests();
    const idAt = (path: string) => ids.get(path) ?? linked.get(path) ?? null;
    const found = services.map((service) => {
      const folderTree = trees.get(service.folder) ?? '';
      return {
        ...service,
        tree: inputs ? inputs.treeOf(service, folderTree) : folderTree,
        config: configIds(service, idAt),
        shared: digests.of(service.id),
      };
    });
    return {
      commit,
      services: found,
      byId: new Map(found.map((service) => [service.id, service])),
      duplicates,
      claimed,
      rulesFile: ids.get(RULES_FILE) ?? null,
      shadowsPlatform: ids.has(SHADOWING_FILE),
      sharedAsStoredBefore: digests.asStoredBefore,
    };
  }
  return { add, links, finish };
}

/** All files that may be the configuration of a service. */
function configPaths(service: Service): string[] {
  return configOf(service) ?? COMPOSE_FILES.map((name) => inFolder(service, name));
}

function configIds(service: Service, idAt: (path: string) => string | null): (string | null)[] {
  const named = configOf(service);
  if (named) return named.map(idAt);
  for (const name of COMPOSE_FILES) {
    const id = idAt(inFolder(service, name));
    if (id !== null) return [id];
  }
  return [null];
}

function inFolder({ folder }: Service, name: string): string {
  return folder === '.' ? name : `${folder}/${name}`;
}
