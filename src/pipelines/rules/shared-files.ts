/** Digests of the shared files that services depend on. */

import { hash } from 'node:crypto';
import type { TreeEntry } from '../../git/own/mirror.ts';
import { bookOf, sharedPathsOf } from './rule-book.ts';
import type { Rules } from './service-rules.ts';

interface SharedDigests {
  /** The digest of all shared files that the service depends on. */
  of(service: string): string;
  /** The digest that earlier versions stored: of regular files only, without their modes. */
  asStoredBefore(service: string): string;
}

/** Collects files, links and submodules in any order, and leaves out those that are not shared, or ignored. */
export function createSharedFiles(rules: Rules): { add(entry: TreeEntry): void; digests(): SharedDigests } {
  const book = bookOf(rules);
  const byIndex = new Map<number, Map<string, TreeEntry>>();
  return {
    add(entry) {
      for (const { index } of sharedPathsOf(book, entry.path)) {
        const entries = byIndex.get(index) ?? new Map<string, TreeEntry>();
        byIndex.set(index, entries);
        entries.set(entry.path, entry);
      }
    },
    digests: () =>
      digestsOf(
        rules.shared.map(({ services }, index) =>
          partOf(services, [...(byIndex.get(index)?.values() ?? [])]),
        ),
      ),
  };
}

/** The part that one shared path of the rules adds to the digests. */
interface Part {
  services: readonly string[] | null;
  digest: string;
  before: string;
}

function partOf(services: Part['services'], entries: readonly TreeEntry[]): Part {
  // They are sorted, because the entries come from several listings.
  const lines = entries.map(lineOf);
  const before = entries.filter(({ mode }) => mode === '100644' || mode === '100755');
  const linesBefore = before.map(({ path, id }) => `${path}\0${id}`);
  return { services, digest: digest(lines.sort()), before: digest(linesBefore.sort()) };
}

/** The line of an entry in a digest. */
export function lineOf({ mode, path, id }: TreeEntry): string {
  return mode === '100644' ? `${path}\0${id}` : `${path}\0${id}\0${mode}`;
}

function digestsOf(parts: readonly Part[]): SharedDigests {
  const everyones = digest(parts.flatMap(({ services, digest }) => (services === null ? [digest] : [])));
  const pairs = parts.flatMap((part) => [...new Set(part.services)].map((service) => ({ service, part })));
  const own = Map.groupBy(pairs, ({ service }) => service);
  return {
    of(service) {
      const named = own.get(service);
      return named ? digest([everyones, ...named.map(({ part }) => part.digest)]) : everyones;
    },
    asStoredBefore: storedBefore(parts, own),
  };
}

/** In the order of the rules. Computed once for all services that the same parts name, because both may be many. */
function storedBefore(
  parts: readonly Part[],
  own: ReadonlyMap<string, readonly { part: Part }[]>,
): SharedDigests['asStoredBefore'] {
  const places = new Map(parts.map((part, place) => [part, place]));
  const known = new Map<string, string>();
  return (service) => {
    const named = new Set(own.get(service)?.map(({ part }) => part));
    const key = [...named].map((part) => places.get(part)).join(' ');
    const stored =
      known.get(key) ??
      digest(parts.flatMap((part) => (part.services === null || named.has(part) ? [part.before] : [])));
    known.set(key, stored);
    return stored;
  };
}

/** SHA-256 over the lines, hex. */
export function digest(lines: readonly string[]): string {
  return hash('sha256', lines.join('\n'));
}
