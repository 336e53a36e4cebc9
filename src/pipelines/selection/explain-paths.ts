/** Finds the changed paths behind each decision to run. */

import { eachInTurns } from '../../event-loop.ts';
import type { RepositoryReader } from '../../git/read/repository-reader.ts';
import type { TreePair } from '../../git/read/trees.ts';
import type { Rules, Service } from '../rules/service-rules.ts';
import type { Selected } from './select-services.ts';
import { createPathMatcher } from './touched-paths.ts';

/** The numbers of shown paths: for each service, and of those that belong to no service. */
const SHOWN_PATHS = 20;
const SHOWN_UNMATCHED = 100;
/** The number of commits that one git process compares. */
const COMPARED_AT_ONCE = 5;
/** After this number of changed paths, no other commit is compared. */
const MAX_PATHS = 100_000;

interface PathsQuestion {
  repository: RepositoryReader;
  revision: string;
  /** The heads of the branch before each push. The most conservative one comes first. */
  befores: readonly string[];
  /** The services at the revision, and those that were there before. */
  services: readonly Service[];
}

/** Adds the changed paths to each service that runs. Returns the changed paths that belong to no service. */
export async function addPaths(
  { repository, revision, befores, services }: PathsQuestion,
  rules: Rules,
  selected: readonly Selected[],
): Promise<string[]> {
  const running = Map.groupBy(
    selected.filter(({ decision, previous }) => decision === 'run' && previous !== null),
    ({ previous }) => previous ?? '',
  );
  // If nothing runs, the paths of the push are the explanation.
  const commits = running.size > 0 ? [...running.keys()] : befores.slice(-1);
  const unmatched = new Set<string>();
  const match = createPathMatcher(rules, services);
  const sharedBy = sharedEntriesOf(
    rules,
    new Set([...running.values()].flat().map(({ service }) => service)),
  );
  let left = MAX_PATHS;
  const isEnough = () => left <= 0;
  for await (const { commit, paths } of comparisons(repository, { commits, revision, isEnough })) {
    const decisions = running.get(commit) ?? [];
    if (left <= 0) {
      for (const decision of decisions) decision.because += ' Its changed paths are too many to be listed.';
      continue;
    }
    left -= paths.length;
    const sorted = await sortPaths(paths, match);
    for (const path of sorted.unmatched) unmatched.add(path);
    await eachInTurns(decisions, (decision) => {
      const shared = sharedBy.get(decision.service) ?? [];
      const own = [decision.service, ...shared].flatMap((owner) => sorted.byOwner.get(owner) ?? []);
      decision.paths = [...new Set([...own, ...sorted.everyones])].slice(0, SHOWN_PATHS);
    });
  }
  return [...unmatched].slice(0, SHOWN_UNMATCHED);
}

/** Yields each known commit with the paths that changed since. After `isEnough` there are no paths. */
async function* comparisons(
  repository: RepositoryReader,
  { commits, revision, isEnough }: { commits: readonly string[]; revision: string; isEnough(): boolean },
): AsyncGenerator<{ commit: string; paths: readonly string[] }> {
  if (commits.length === 0) return;
  const trees = await repository.rootTrees([...commits, revision]);
  const to = trees.get(revision);
  if (to === undefined) return;
  for (let start = 0; start < commits.length; start += COMPARED_AT_ONCE) {
    const pairs = commits.slice(start, start + COMPARED_AT_ONCE).flatMap((commit): [string, TreePair][] => {
      const from = trees.get(commit);
      return from === undefined ? [] : [[commit, { from, to }]];
    });
    const changed = isEnough() ? [] : await repository.changedPaths(pairs.map(([, pair]) => pair));
    for (const [index, [commit]] of pairs.entries()) yield { commit, paths: changed[index] ?? [] };
  }
}

/** The owner of a path: a service by its id, or a shared path by its list of services. */
type Owner = string | readonly string[];

/** Keeps only the paths that are shown. A shared path may name very many services, so its paths are kept once. */
async function sortPaths(paths: readonly string[], match: ReturnType<typeof createPathMatcher>) {
  const byOwner = new Map<Owner, string[]>();
  const everyones: string[] = [];
  const unmatched: string[] = [];
  const add = (owner: Owner, path: string) => {
    const others = byOwner.get(owner);
    if (!others) byOwner.set(owner, [path]);
    else if (others.length < SHOWN_PATHS) others.push(path);
  };
  await eachInTurns(paths, (path) => {
    const touched = match(path);
    for (const { id } of touched.services) add(id, path);
    for (const { services } of touched.shared) if (services !== null) add(services, path);
    const isEveryones = touched.shared.some(({ services }) => services === null);
    if (isEveryones && everyones.length < SHOWN_PATHS) everyones.push(path);
    const isUnmatched = touched.services.length === 0 && touched.shared.length === 0;
    if (isUnmatched && unmatched.length < SHOWN_UNMATCHED) unmatched.push(path);
  });
  return { byOwner, everyones, unmatched };
}

/** For each of these services, the lists of the shared paths that name it. */
function sharedEntriesOf(rules: Rules, services: ReadonlySet<string>): Map<string, Owner[]> {
  const entries = new Map<string, Owner[]>([...services].map((id) => [id, []]));
  for (const { services: named } of rules.shared) {
    if (named !== null) for (const id of new Set(named)) entries.get(id)?.push(named);
  }
  return entries;
}
