/** The services at a commit, and the ids of everything that they depend on. */

import { eachInTurns } from '../../event-loop.ts';
import type { TreeEntry } from '../../git/own/mirror.ts';
import type { RepositoryReader } from '../../git/read/repository-reader.ts';
import { createCommitMemory, type Remember } from './commit-memory.ts';
import { createDiscovery, type DuplicateService } from './discover-services.ts';
import {
  isServiceFolder,
  markerFiles,
  RULES_FILE,
  type Rules,
  type Service,
  serviceRoots,
} from './service-rules.ts';
import { createSharedFiles } from './shared-files.ts';

export { digest } from './shared-files.ts';

export interface ServiceAtCommit extends Service {
  /** The tree id of the folder. Equal ids mean that all files in the folder are equal. */
  tree: string;
  /** The blob id of the compose file, or null. */
  compose: string | null;
  /** The digest of the shared files that it depends on, including links, submodules and modes. */
  shared: string;
}

export interface Snapshot {
  commit: string;
  /** Sorted by wave, then by id. */
  services: ServiceAtCommit[];
  byId: ReadonlyMap<string, ServiceAtCommit>;
  duplicates: DuplicateService[];
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

/** The named files of folders, by tree id. The id stands for the content, so no entry gets old. */
interface KnownFolders {
  names: string;
  files: Map<string, TreeEntry[]>;
}

/** Holds only the folders of a repository's last snapshot, so that it cannot grow. */
const lastFolders = new WeakMap<RepositoryReader, KnownFolders>();

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

/**
 * Starts three git processes, and one more if a compose file is a link. From the folder of a service it reads only the
 * files that count, and only if the last snapshot had no folder with the same tree id.
 */
async function readSnapshot(repository: RepositoryReader, rules: Rules, revision: string): Promise<Snapshot> {
  const [level, shared] = await Promise.all([
    repository.listLevel(revision, serviceRoots(rules)),
    repository.listTree(revision, [...rules.shared.map(({ path }) => path), RULES_FILE]),
  ]);
  const folders = level.filter(({ type, path }) => type === 'tree' && isServiceFolder(rules, path));
  const names = [...markerFiles(rules), ...COMPOSE_FILES];
  const files = await readFolders(repository, folders, names);
  const links = files.filter(({ mode, path }) => mode === LINK && isCompose(path)).map(({ path }) => path);
  const builder = createBuilder(rules, await repository.followLinks(revision, links));
  await eachInTurns([...level, ...shared, ...files], builder.add);
  return builder.finish(revision);
}

async function readFolders(
  repository: RepositoryReader,
  folders: readonly TreeEntry[],
  names: readonly string[],
): Promise<TreeEntry[]> {
  const last = lastFolders.get(repository);
  const known = last?.names === names.join('/') ? last.files : new Map<string, TreeEntry[]>();
  const unknown = folders.flatMap(({ id }) => (known.has(id) ? [] : [id]));
  const read = await repository.filesIn(unknown, new Set(names));
  const files = new Map(folders.map(({ id }) => [id, known.get(id) ?? read.get(id) ?? []]));
  lastFolders.set(repository, { names: names.join('/'), files });
  return folders.flatMap(({ id, path: folder }) =>
    (files.get(id) ?? []).map(({ mode, type, id, path }) => ({ mode, type, id, path: `${folder}/${path}` })),
  );
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
  const builder = createBuilder(rules, links);
  for (const entry of entries) builder.add(entry);
  return builder.finish(commit);
}

/** Builds a snapshot. An entry may be added several times, because several listings may contain it. */
function createBuilder(rules: Rules, links: ReadonlyMap<string, string>) {
  const discovery = createDiscovery(rules);
  const shared = createSharedFiles(rules);
  const ids = new Map(links);
  function add(entry: TreeEntry): void {
    if (entry.type === 'tree') {
      ids.set(entry.path, entry.id);
      return;
    }
    shared.add(entry);
    if (!isFile(entry)) return;
    ids.set(entry.path, entry.id);
    discovery.add(entry.path);
  }
  function finish(commit: string): Snapshot {
    const { services, duplicates } = discovery.found();
    const digests = shared.digests();
    const found = services.map((service) => ({
      ...service,
      tree: ids.get(service.folder) ?? '',
      compose: composeOf(service.folder, ids),
      shared: digests.of(service.id),
    }));
    return {
      commit,
      services: found,
      byId: new Map(found.map((service) => [service.id, service])),
      duplicates,
      rulesFile: ids.get(RULES_FILE) ?? null,
      shadowsPlatform: ids.has('platform/__init__.py'),
      sharedAsStoredBefore: digests.asStoredBefore,
    };
  }
  return { add, finish };
}

function isCompose(path: string): boolean {
  return COMPOSE_FILES.includes(path.slice(path.lastIndexOf('/') + 1));
}

function composeOf(folder: string, ids: ReadonlyMap<string, string>): string | null {
  for (const name of COMPOSE_FILES) {
    const id = ids.get(`${folder}/${name}`);
    if (id !== undefined) return id;
  }
  return null;
}
