/** The identity of the shared files that services depend on. */

import { hash } from 'node:crypto';
import type { TreeEntry } from '../../git/own/mirror.ts';
import { type Rules, sharedPathOf } from './service-rules.ts';

export interface SharedDigests {
  /** Of all shared files that the service depends on. */
  of(service: string): string;
  /** What earlier versions stored: regular files alone, without their modes. */
  asStoredBefore(service: string): string;
}

/** Files, links and submodules are given one by one, in any order; what is not shared is left out. */
export function createSharedFiles(rules: Rules): { add(entry: TreeEntry): void; digests(): SharedDigests } {
  const byPath = new Map<string, Map<string, TreeEntry>>();
  return {
    add(entry) {
      const shared = sharedPathOf(rules, entry.path);
      if (!shared) return;
      const entries = byPath.get(shared.path) ?? new Map<string, TreeEntry>();
      byPath.set(shared.path, entries);
      entries.set(entry.path, entry);
    },
    digests: () =>
      digestsOf(
        rules.shared.map(({ path, services }) => partOf(services, [...(byPath.get(path)?.values() ?? [])])),
      ),
  };
}

/** What one entry of the rules contributes. */
interface Part {
  services: readonly string[] | null;
  digest: string;
  before: string;
}

function partOf(services: Part['services'], entries: readonly TreeEntry[]): Part {
  // Sorted, as entries come from several listings.
  const lines = entries.map(({ mode, path, id }) =>
    mode === '100644' ? `${path}\0${id}` : `${path}\0${id}\0${mode}`,
  );
  const before = entries.filter(({ mode }) => mode === '100644' || mode === '100755');
  const linesBefore = before.map(({ path, id }) => `${path}\0${id}`);
  return { services, digest: digest(lines.sort()), before: digest(linesBefore.sort()) };
}

function digestsOf(parts: readonly Part[]): SharedDigests {
  const everyones = digest(parts.flatMap(({ services, digest }) => (services === null ? [digest] : [])));
  const own = new Map<string, Part[]>();
  for (const part of parts) {
    for (const service of new Set(part.services)) {
      const others = own.get(service);
      if (others) others.push(part);
      else own.set(service, [part]);
    }
  }
  return {
    of(service) {
      const named = own.get(service);
      return named ? digest([everyones, ...named.map(({ digest }) => digest)]) : everyones;
    },
    asStoredBefore: storedBefore(parts, own),
  };
}

/** In the order of the rules. Made once for all services that the same entries name, because both can be many. */
function storedBefore(
  parts: readonly Part[],
  own: ReadonlyMap<string, readonly Part[]>,
): SharedDigests['asStoredBefore'] {
  const places = new Map(parts.map((part, place) => [part, place]));
  const known = new Map<string, string>();
  return (service) => {
    const named = new Set(own.get(service));
    const key = [...named].map((part) => places.get(part)).join(' ');
    const stored =
      known.get(key) ??
      digest(parts.flatMap((part) => (part.services === null || named.has(part) ? [part.before] : [])));
    known.set(key, stored);
    return stored;
  };
}

/** SHA-256 over lines, hex. */
export function digest(lines: readonly string[]): string {
  return hash('sha256', lines.join('\n'));
}
