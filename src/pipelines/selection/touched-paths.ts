/** Finds the services that changed paths touch, by the names of the paths alone. */

import {
  bookOf,
  DEFAULT_RULES,
  type PlacedRule,
  type RuleBook,
  type Rules,
  type Service,
  serviceOf,
  sharedPathOf,
} from '../rules/service-rules.ts';

/** The part of the repository that a changed path touches. */
type Touched =
  | { kind: 'service'; service: Service }
  /** `services` is null for every service. */
  | { kind: 'shared'; services: readonly string[] | null }
  | { kind: 'none' };

/** The returned function does not check whether the service exists. */
export function createPathMatcher(rules: Rules = DEFAULT_RULES): (path: string) => Touched {
  const book = bookOf(rules);
  return (path) => {
    const shared = sharedPathOf(rules, path);
    if (shared) return { kind: 'shared', services: shared.services };
    const service = ownerOf(book, path)?.service;
    return service && service.task !== null ? { kind: 'service', service } : { kind: 'none' };
  };
}

/** Finds the service whose folder contains the path. If folders are nested, the outermost one counts. */
function ownerOf(book: RuleBook, path: string): { rule: PlacedRule; service: Service } | null {
  for (const { value, length } of book.rootsAlong(path)) {
    const end = path.indexOf('/', length + 1);
    const service = end === -1 ? null : serviceOf(book, value.first, path.slice(length + 1, end));
    if (service) return { rule: value.first, service };
  }
  return null;
}

/** The rule that matches a path, as it is written in a rules file. Null if no rule does. */
export function ruleOf(rules: Rules, path: string): string | null {
  return sharedPathOf(rules, path)?.path ?? ownerOf(bookOf(rules), path)?.rule.match ?? null;
}

/** Stands for every service in answers that do not look at the repository. */
const ALL_SERVICES = '__all__';

/** The services that a push payload names, sorted, with `__all__` if a shared path changed. */
export function servicesNamedBy(paths: Iterable<string>, rules: Rules = DEFAULT_RULES): string[] {
  const match = createPathMatcher(rules);
  const named = new Set<string>();
  // A set, because many paths may belong to one shared path that names many services.
  const shared = new Set<readonly string[] | null>();
  for (const path of paths) {
    const touched = match(path);
    if (touched.kind === 'shared') shared.add(touched.services);
    if (touched.kind === 'service') named.add(touched.service.id);
  }
  for (const services of shared) for (const id of services ?? [ALL_SERVICES]) named.add(id);
  return [...named].sort();
}
