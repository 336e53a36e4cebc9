/** What changed paths touch, by their names alone: no repository is asked. */

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

/** What a changed path touches: one service, every service, or none. */
export type Touched =
  | { kind: 'service'; service: Service }
  /** `services` null: every service. */
  | { kind: 'shared'; services: readonly string[] | null }
  | { kind: 'none' };

/** A function from a path to what it touches by its name alone; whether the service exists is not asked. */
export function createPathMatcher(rules: Rules = DEFAULT_RULES): (path: string) => Touched {
  const book = bookOf(rules);
  return (path) => {
    const shared = sharedPathOf(rules, path);
    if (shared) return { kind: 'shared', services: shared.services };
    const service = ownerOf(book, path)?.service;
    return service && service.task !== null ? { kind: 'service', service } : { kind: 'none' };
  };
}

/** The service whose folder holds the path; of nested folders the outermost one. */
function ownerOf(book: RuleBook, path: string): { rule: PlacedRule; service: Service } | null {
  for (const { value, length } of book.rootsAlong(path)) {
    const end = path.indexOf('/', length + 1);
    const service = end === -1 ? null : serviceOf(book, value.first, path.slice(length + 1, end));
    if (service) return { rule: value.first, service };
  }
  return null;
}

/** The rule by which a path counts, as it stands in a rules file; null when it counts for nothing. */
export function ruleOf(rules: Rules, path: string): string | null {
  return sharedPathOf(rules, path)?.path ?? ownerOf(bookOf(rules), path)?.rule.match ?? null;
}

/** Stands for every service in answers that are given before the repository was looked at. */
const ALL_SERVICES = '__all__';

/** The services that a push payload names, sorted, with `__all__` when a shared path changed. */
export function servicesNamedBy(paths: Iterable<string>, rules: Rules = DEFAULT_RULES): string[] {
  const match = createPathMatcher(rules);
  const named = new Set<string>();
  // Many paths may belong to one entry that names many services.
  const shared = new Set<readonly string[] | null>();
  for (const path of paths) {
    const touched = match(path);
    if (touched.kind === 'shared') shared.add(touched.services);
    if (touched.kind === 'service') named.add(touched.service.id);
  }
  for (const services of shared) for (const id of services ?? [ALL_SERVICES]) named.add(id);
  return [...named].sort();
}
