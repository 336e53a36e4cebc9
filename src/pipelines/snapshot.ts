/** What a commit says about its services: which there are and the identity of all they depend on. */

import { hash } from 'node:crypto';
import type { TreeEntry } from '../git/mirror.ts';
import type { RepositoryReader } from '../git/repository-reader.ts';
import { createCommitMemory, type Remember } from './commit-memory.ts';
import {
  type DuplicateService,
  discoverServices,
  isServiceFolder,
  markerFiles,
  RULES_FILE,
  type Rules,
  type Service,
  serviceRoots,
  sharedPathOf,
} from './service-rules.ts';

export interface ServiceAtCommit extends Service {
  /** Tree id of the folder: equal ids mean equal content of every file in it. */
  tree: string;
  /** Blob id of the compose file, or null when there is none. */
  compose: string | null;
  /** Digest of the shared files it depends on. */
  shared: string;
}

export interface Snapshot {
  commit: string;
  /** By wave, then id. */
  services: ServiceAtCommit[];
  byId: ReadonlyMap<string, ServiceAtCommit>;
  duplicates: DuplicateService[];
  /** Blob id of the repository's own rules, or null when it has none. */
  rulesFile: string | null;
  /** True when the repository has a `platform/__init__.py`, which shadows Python's own module. */
  shadowsPlatform: boolean;
}

const COMPOSE_FILES = ['compose.yaml', 'compose.yml', 'docker-compose.yaml', 'docker-compose.yml'];

/** Only regular files count: a link called deploy.py is not a service. */
function isFile(entry: TreeEntry): boolean {
  return entry.mode === '100644' || entry.mode === '100755';
}

/** The named files of folders by tree id, which stands for the content: nothing in it can go stale. */
interface KnownFolders {
  names: string;
  files: Map<string, TreeEntry[]>;
}

/** Of a repository's last snapshot only, to be bounded. */
const lastFolders = new WeakMap<RepositoryReader, KnownFolders>();

/** A repository's last snapshots by commit, for each rule book. */
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
 * Three git processes at most. Of the services' own folders only the file names that count are read, and only
 * when the folder differs from all that the snapshot before had.
 */
async function readSnapshot(repository: RepositoryReader, rules: Rules, revision: string): Promise<Snapshot> {
  const [level, shared] = await Promise.all([
    repository.listLevel(revision, serviceRoots(rules)),
    repository.listTree(revision, [...rules.shared.map(({ path }) => path), RULES_FILE]),
  ]);
  const folders = level.filter(({ type, path }) => type === 'tree' && isServiceFolder(rules, path));
  const names = [...markerFiles(rules), ...COMPOSE_FILES];
  const files = await readFolders(repository, folders, names);
  return snapshotOf(revision, [...level, ...shared, ...files], rules);
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

/** Pure: from entries that hold all shared files, the services' folders, and in these the files that count. */
export function snapshotOf(commit: string, entries: readonly TreeEntry[], rules: Rules): Snapshot {
  const files = new Set<string>();
  const ids = new Map<string, string>();
  for (const entry of entries) {
    if (entry.type === 'tree') ids.set(entry.path, entry.id);
    else if (entry.type === 'blob' && isFile(entry)) {
      files.add(entry.path);
      ids.set(entry.path, entry.id);
    }
  }
  const { services, duplicates } = discoverServices(files, rules);
  const sharedDigest = sharedDigests(rules, files, ids);
  const found = services.map((service) => ({
    ...service,
    tree: ids.get(service.folder) ?? '',
    compose: composeOf(service.folder, ids),
    shared: sharedDigest(service.id),
  }));
  return {
    commit,
    services: found,
    byId: new Map(found.map((service) => [service.id, service])),
    duplicates,
    rulesFile: ids.get(RULES_FILE) ?? null,
    shadowsPlatform: ids.has('platform/__init__.py'),
  };
}

function composeOf(folder: string, ids: ReadonlyMap<string, string>): string | null {
  for (const name of COMPOSE_FILES) {
    const id = ids.get(`${folder}/${name}`);
    if (id !== undefined) return id;
  }
  return null;
}

/** A function from a service to the digest of the shared files it depends on. */
function sharedDigests(
  rules: Rules,
  files: Iterable<string>,
  ids: ReadonlyMap<string, string>,
): (service: string) => string {
  const byPath = new Map<string, string[]>();
  for (const file of files) {
    const shared = sharedPathOf(rules, file);
    if (!shared) continue;
    const lines = byPath.get(shared.path) ?? [];
    byPath.set(shared.path, lines);
    lines.push(`${file}\0${ids.get(file)}`);
  }
  const parts = rules.shared.map(({ path, services }) => ({
    services,
    // Sorted, as files come from several listings.
    digest: digest((byPath.get(path) ?? []).sort()),
  }));
  const everyones = digest(parts.map(({ digest }) => digest));
  if (parts.every(({ services }) => services === null)) return () => everyones;
  return (service) =>
    digest(
      parts.flatMap(({ services, digest }) =>
        services === null || services.includes(service) ? [digest] : [],
      ),
    );
}

/** SHA-256 over lines, hex. */
export function digest(lines: readonly string[]): string {
  return hash('sha256', lines.join('\n'));
}
