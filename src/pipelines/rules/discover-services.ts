/** Finds services by the paths of files. */

import type { Captures } from './patterns/glob.ts';
import { bookOf, type PlacedRule, type RuleBook, serviceOf } from './rule-book.ts';
import { DEFAULT_RULES, type Rules, type Service } from './service-rules.ts';

/** Several folders that have the same id. None of them runs. */
export interface DuplicateService {
  id: string;
  folders: string[];
}

export function describeDuplicate({ id, folders }: DuplicateService): string {
  const [first, second, ...others] = folders;
  if (new Set(folders).size === 1)
    return `${folders.length} files in ${first} claim the id ${id}. Give their rule an id with {service}.`;
  if (others.length === 0)
    return `Two folders claim the id ${id}: ${first} and ${second}. Rename one of them.`;
  const shown = folders.slice(0, 5).join(', ');
  const rest = folders.length > 5 ? ` and ${folders.length - 5} more` : '';
  return `${folders.length} folders claim the id ${id}: ${shown}${rest}. Rename all but one of them.`;
}

interface Claim {
  rule: PlacedRule;
  service: Service;
}

/** The service that the file makes of its folder. Of several rules that match the file, the first one counts. */
function claimOf(book: RuleBook, path: string): Claim | null {
  const named = book.byFileName.get(path.slice(path.lastIndexOf('/') + 1));
  if (!named && book.ofAnyName.length === 0) return null;
  const segments = path.split('/');
  const first = firstMatch(named, segments);
  const other = firstMatch(book.ofAnyName, segments);
  const found = first && other && other.rule.position < first.rule.position ? other : (first ?? other);
  if (!found) return null;
  const folder = segments.length === 1 ? '.' : path.slice(0, path.lastIndexOf('/'));
  return { rule: found.rule, service: serviceOf(book, found.rule, { captures: found.captures, folder }) };
}

export interface Found {
  /** Sorted by wave and id. */
  services: Service[];
  duplicates: DuplicateService[];
  /** All services, also those that share an id, in no order. */
  claimed: Service[];
}

/** The rules are in the order of the file. */
function firstMatch(
  rules: readonly PlacedRule[] | undefined,
  segments: readonly string[],
): { rule: PlacedRule; captures: Captures } | null {
  for (const rule of rules ?? []) {
    const captures = rule.glob.match(segments);
    if (captures) return { rule, captures };
  }
  return null;
}

/** Collects files, and finds the services that they make of their folders. */
interface Discovery {
  add(file: string): void;
  found(): Found;
}

/**
 * If several files make the same service of a folder, the first rule counts. A folder may have several services with
 * different names, for example if each one is a file.
 */
export function createDiscovery(rules: Rules): Discovery {
  const book = bookOf(rules);
  // By folder and name, then by id: one rule may make several services with one name.
  const claims = new Map<string, Map<string, Claim>>();
  return {
    add(file) {
      const claim = claimOf(book, file);
      if (!claim) return;
      const key = `${claim.service.folder}\0${claim.service.captures.service}`;
      const others = claims.get(key);
      const [first] = others?.values() ?? [];
      const { position } = claim.rule;
      if (!others || !first || position < first.rule.position) {
        claims.set(key, new Map([[claim.service.id, claim]]));
      } else if (position === first.rule.position && !others.has(claim.service.id)) {
        others.set(claim.service.id, claim);
      }
    },
    found() {
      const all = [...claims.values()].flatMap((byId) => [...byId.values()]);
      return withoutDuplicates(all.map(({ service }) => service));
    },
  };
}

function withoutDuplicates(claims: Service[]): Found {
  const byId = Map.groupBy(claims, ({ id }) => id);
  const services: Service[] = [];
  const duplicates: DuplicateService[] = [];
  for (const [id, claimed] of byId) {
    claimed.sort((a, b) => (a.folder < b.folder ? -1 : 1));
    const [first] = claimed;
    // Folders that never run may share an id.
    if (first && (claimed.length === 1 || claimed.every(({ runs }) => !runs))) services.push(first);
    else duplicates.push({ id, folders: claimed.map(({ folder }) => folder) });
  }
  services.sort((a, b) => a.wave - b.wave || (a.id < b.id ? -1 : 1));
  return { services, duplicates, claimed: claims };
}

/** The services that these files make. The paths may come from a checkout or from a commit's tree. */
export function discoverServices(paths: Iterable<string>, rules: Rules = DEFAULT_RULES): Found {
  const discovery = createDiscovery(rules);
  for (const path of paths) discovery.add(path);
  return discovery.found();
}
