/** What a commit says about its services: which there are and the identity of all they depend on. */

import { createHash } from 'node:crypto';
import type { TreeEntry } from '../git/mirror.ts';
import { type DuplicateService, discoverServices, type Rules, type Service } from './service-rules.ts';

export interface ServiceAtCommit extends Service {
  /** Tree id of the folder: equal ids mean equal content of every file in it. */
  tree: string;
  /** Blob id of the compose file, or null when there is none. */
  compose: string | null;
}

export interface Snapshot {
  commit: string;
  services: ServiceAtCommit[];
  duplicates: DuplicateService[];
  /** Path → object id of the shared paths that exist. */
  shared: Map<string, string>;
  /** Digest of `shared`. */
  sharedDigest: string;
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
  const shared = new Map(
    rules.shared.flatMap((path) => {
      const id = ids.get(path);
      return id === undefined ? [] : [[path, id] as const];
    }),
  );
  return {
    commit,
    services: services.map((service) => ({
      ...service,
      tree: ids.get(service.folder) ?? '',
      compose:
        COMPOSE_FILES.map((name) => ids.get(`${service.folder}/${name}`)).find((id) => id !== undefined) ??
        null,
    })),
    duplicates,
    shared,
    sharedDigest: digest([...shared].map(([path, id]) => `${path}\0${id}`)),
    shadowsPlatform: ids.has('platform/__init__.py'),
  };
}

/** SHA-256 over lines, hex. */
export function digest(lines: readonly string[]): string {
  return createHash('sha256').update(lines.join('\n')).digest('hex');
}
