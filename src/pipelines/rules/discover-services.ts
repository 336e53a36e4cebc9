/** Finds services by the paths of files. */

import {
  bookOf,
  DEFAULT_RULES,
  type PlacedRule,
  type RuleBook,
  type Rules,
  type Service,
  serviceOf,
} from './service-rules.ts';

/** Several folders that have the same id. None of them runs. */
export interface DuplicateService {
  id: string;
  folders: string[];
}

export function describeDuplicate({ id, folders }: DuplicateService): string {
  const [first, second, ...others] = folders;
  if (others.length === 0)
    return `Two folders claim the id ${id}: ${first} and ${second}. Rename one of them.`;
  const shown = folders.slice(0, 5).join(', ');
  const rest = folders.length > 5 ? ` and ${folders.length - 5} more` : '';
  return `${folders.length} folders claim the id ${id}: ${shown}${rest}. Rename all but one of them.`;
}

/** The rule that the file matches, and the service that it makes of its folder. */
function claimOf(book: RuleBook, path: string): { rule: PlacedRule; service: Service } | null {
  const [root, folderName, file] = lastParts(path);
  const rule = book.roots.get(root)?.byFile.get(file);
  const service = rule && serviceOf(book, rule, folderName);
  return service ? { rule, service } : null;
}

function lastParts(path: string): [root: string, folderName: string, file: string] {
  const file = path.lastIndexOf('/');
  const folder = path.lastIndexOf('/', file - 1);
  return [
    path.slice(0, Math.max(folder, 0)),
    path.slice(folder + 1, Math.max(file, 0)),
    path.slice(file + 1),
  ];
}

/** Collects files, and finds the services that they make of their folders. */
interface Discovery {
  add(file: string): void;
  found(): { services: Service[]; duplicates: DuplicateService[] };
}

/** If a folder matches several rules, the first rule counts. */
export function createDiscovery(rules: Rules): Discovery {
  const book = bookOf(rules);
  const byFolder = new Map<string, { rule: PlacedRule; service: Service }>();
  return {
    add(file) {
      const claim = claimOf(book, file);
      if (!claim) return;
      const other = byFolder.get(claim.service.folder);
      if (!other || claim.rule.position < other.rule.position) byFolder.set(claim.service.folder, claim);
    },
    found: () => withoutDuplicates([...byFolder.values()].map(({ service }) => service)),
  };
}

/** Sorted by wave and id. */
function withoutDuplicates(claims: readonly Service[]): ReturnType<Discovery['found']> {
  const byId = Map.groupBy(claims, ({ id }) => id);
  const services: Service[] = [];
  const duplicates: DuplicateService[] = [];
  for (const [id, claimed] of byId) {
    claimed.sort((a, b) => (a.folder < b.folder ? -1 : 1));
    const [first] = claimed;
    // Folders that never run may share an id.
    if (first && (claimed.length === 1 || claimed.every(({ task }) => task === null))) services.push(first);
    else duplicates.push({ id, folders: claimed.map(({ folder }) => folder) });
  }
  services.sort((a, b) => a.wave - b.wave || (a.id < b.id ? -1 : 1));
  return { services, duplicates };
}

/** The services that these files make. The paths may come from a checkout or from a commit's tree. */
export function discoverServices(
  paths: Iterable<string>,
  rules: Rules = DEFAULT_RULES,
): ReturnType<Discovery['found']> {
  const discovery = createDiscovery(rules);
  for (const path of paths) discovery.add(path);
  return discovery.found();
}
