/** Finds the services that changed paths touch, by the names of the paths and the services that are known. */

import { createDiscovery } from '../rules/discover-services.ts';
import { createDependentsFinder } from '../rules/input-files.ts';
import { bookOf, type RuleBook, serviceOf, sharedPathsOf } from '../rules/rule-book.ts';
import { DEFAULT_RULES, type Rules, type Service, type SharedPath } from '../rules/service-rules.ts';

/** The part of the repository that a changed path touches. */
export interface Touched {
  /** The services whose inputs contain the path, without those that never run. */
  services: Service[];
  shared: SharedPath[];
}

/**
 * `known` are the services that exist or existed. They are not needed if the path alone tells the service.
 */
export function createPathMatcher(
  rules: Rules = DEFAULT_RULES,
  known: readonly Service[] = [],
): (path: string) => Touched {
  const book = bookOf(rules);
  const dependentsOf = book.isPathEnough ? () => [] : createDependentsFinder(rules, known);
  return (path) => {
    const segments = path.split('/');
    if (book.isIgnored(segments)) return { services: [], shared: [] };
    const shared = sharedPathsOf(book, path).map(({ shared }) => shared);
    const services = book.isPathEnough ? [ownerOf(book, path, segments) ?? []].flat() : dependentsOf(path);
    return { services: services.filter(({ runs }) => runs), shared };
  };
}

/** The service that a path in its folder tells. */
function ownerOf(book: RuleBook, path: string, segments: readonly string[]): Service | null {
  for (const placed of book.byFolders(path).flatMap(({ value }) => value)) {
    const depth = placed.glob.segments.length - 1;
    const captures = segments.length > depth ? placed.level?.isFolder(segments[depth - 1] ?? '') : null;
    if (captures) return serviceOf(book, placed, { captures, folder: segments.slice(0, depth).join('/') });
  }
  return null;
}

/** The rule that a path counts by, as it is written in a rules file. Null if there is none. */
export function ruleOf({ shared, services }: Touched, service: string): string | null {
  const owner = services.find(({ id }) => id === service) ?? services[0];
  return shared[0]?.path ?? owner?.rule.match ?? null;
}

/** Stands for every service in answers that do not look at the repository. */
const ALL_SERVICES = '__all__';

/**
 * The services that a push payload names, sorted, with `__all__` if a shared path changed. `known` are the services at the
 * last fetched head. Services that the push adds are found by their files.
 */
export function servicesNamedBy(
  paths: readonly string[],
  rules: Rules = DEFAULT_RULES,
  known: readonly Service[] = [],
): string[] {
  const distinct = new Set(paths);
  const added = createDiscovery(rules);
  for (const path of distinct) added.add(path);
  const both = [...added.found().claimed, ...known];
  const services = new Map(both.map((service) => [`${service.id}\0${service.folder}`, service]));
  const match = createPathMatcher(rules, [...services.values()]);
  const named = new Set<string>();
  // A set, because many paths may belong to one shared path that names many services.
  const shared = new Set<SharedPath>();
  for (const path of distinct) {
    const touched = match(path);
    for (const entry of touched.shared) shared.add(entry);
    for (const { id } of touched.services) named.add(id);
  }
  for (const { services: ids } of shared) for (const id of ids ?? [ALL_SERVICES]) named.add(id);
  return [...named].sort();
}
