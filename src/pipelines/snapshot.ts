/** What a commit says about its services: which there are and the identity of all they depend on. */

import { createHash } from 'node:crypto';
import type { TreeEntry } from '../git/mirror.ts';
import {
  type DuplicateService,
  discoverServices,
  RULES_FILE,
  type Rules,
  type Service,
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
  services: ServiceAtCommit[];
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

/** Pure: from the entries of one recursive `git ls-tree -t`. */
export function snapshotOf(commit: string, entries: readonly TreeEntry[], rules: Rules): Snapshot {
  const files: string[] = [];
  const ids = new Map<string, string>();
  for (const entry of entries) {
    if (entry.type === 'tree') ids.set(entry.path, entry.id);
    else if (entry.type === 'blob' && isFile(entry)) {
      files.push(entry.path);
      ids.set(entry.path, entry.id);
    }
  }
  const { services, duplicates } = discoverServices(files, rules);
  const sharedDigest = sharedDigests(rules, files, ids);
  return {
    commit,
    services: services.map((service) => ({
      ...service,
      tree: ids.get(service.folder) ?? '',
      compose:
        COMPOSE_FILES.map((name) => ids.get(`${service.folder}/${name}`)).find((id) => id !== undefined) ??
        null,
      shared: sharedDigest(service.id),
    })),
    duplicates,
    rulesFile: ids.get(RULES_FILE) ?? null,
    shadowsPlatform: ids.has('platform/__init__.py'),
  };
}

/** A function from a service to the digest of the shared files it depends on. */
function sharedDigests(
  rules: Rules,
  files: readonly string[],
  ids: ReadonlyMap<string, string>,
): (service: string) => string {
  const byPath = new Map<string, string[]>();
  for (const file of files) {
    const shared = sharedPathOf(rules, file);
    if (shared) byPath.set(shared.path, [...(byPath.get(shared.path) ?? []), `${file}\0${ids.get(file)}`]);
  }
  const parts = rules.shared.map(({ path, services }) => ({
    services,
    digest: digest(byPath.get(path) ?? []),
  }));
  return (service) =>
    digest(
      parts.flatMap(({ services, digest }) =>
        services === null || services.includes(service) ? [digest] : [],
      ),
    );
}

/** SHA-256 over lines, hex. */
export function digest(lines: readonly string[]): string {
  return createHash('sha256').update(lines.join('\n')).digest('hex');
}
