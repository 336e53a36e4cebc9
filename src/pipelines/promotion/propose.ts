/** Works out what a promotion would change, and whether the other environment holds it. */

import type { RepositoryReader } from '../../git/read/repository-reader.ts';
import type { Ledger, LedgerEntry } from '../../runs/run-store.ts';
import type { Proposal } from '../../runs/sync/promotion.ts';
import type { Service } from '../rules/service-rules.ts';
import { type Explained, type ExplainOptions, explain, NO_COMMIT } from '../selection/explain.ts';
import { ALL_CHANGED, type Selected } from '../selection/select-services.ts';
import { createPast, type Past } from './held-before.ts';

export interface PromotionOptions {
  /** The mirror, which both environments share. */
  repository: RepositoryReader;
  /** The names of the environment that holds commits, and of the one that takes them. */
  from: string;
  to: string;
  /** Read the ledgers of the two. */
  held(): Promise<Ledger>;
  taken(): Promise<Ledger>;
  /** The commits at which each of the two has synced each service, the newest first. */
  heldBefore(): Promise<ReadonlyMap<string, readonly string[]>>;
  takenBefore(): Promise<ReadonlyMap<string, readonly string[]>>;
  /** Digest of the variables that tasks get in the environment that takes. */
  environmentDigest(service: Pick<Service, 'rule'>): string;
}

/** More commits than this are not listed. */
const MAX_COMMITS = 100;
/** More commits than this are not looked at for one that is held, because each look costs a listing or two. */
const MAX_LOOKS = 20;

/** `services` limits the promotion to these; null stands for all. Throws GitError. */
export async function propose(
  options: PromotionOptions,
  revision: string,
  services: readonly string[] | null,
): Promise<Proposal> {
  const [taken, held] = await Promise.all([options.taken(), options.held()]);
  return proposeFrom(options, { taken, held, past: pastOf(options, 'held') }, { revision, services });
}

/**
 * Resolves to the proposal for the newest commit that the other environment holds completely, or to null if it holds
 * none that the target does not have.
 */
export async function proposeNewest(
  options: PromotionOptions,
  services: readonly string[] | null,
): Promise<Proposal | null> {
  const { repository } = options;
  const [taken, held, head] = await Promise.all([options.taken(), options.held(), repository.head()]);
  if (head === null) return null;
  const last = await knownCommit(repository, taken.examined?.commit);
  const commits = await repository.log(head, last === undefined ? [] : [last], MAX_LOOKS);
  const ids = commits.map(({ id }) => id);
  const facts = { taken, held, past: pastOf(options, 'held') };
  // The commit that the target has may still have services that failed.
  for (const revision of last === undefined ? ids : [...ids, last]) {
    const proposal = await proposeFrom(options, facts, { revision, services });
    if (proposal.unheld.length === 0 && proposal.newer === null) return proposal;
  }
  return null;
}

async function knownCommit(
  repository: RepositoryReader,
  commit: string | undefined,
): Promise<string | undefined> {
  if (commit === undefined) return undefined;
  return (await repository.locate([commit])).get(commit) === 'missing' ? undefined : commit;
}

/** The past of the environment that holds, or of the one that takes. */
function pastOf(options: PromotionOptions, side: 'held' | 'taken'): Past {
  const { repository, from, to, heldBefore, takenBefore } = options;
  return side === 'held'
    ? createPast({ repository, environment: from, syncedBefore: heldBefore })
    : createPast({ repository, environment: to, syncedBefore: takenBefore });
}

/**
 * Returns the services of a request that neither the environment that takes had once as they are at the commit, nor the
 * other one holds. `services` null stands for all. Pins, failed needs and unchanged inputs do not count.
 */
export async function unproven(
  options: PromotionOptions,
  revision: string,
  services: readonly string[] | null,
): Promise<Proposal['unheld']> {
  const [taken, held] = await Promise.all([options.taken(), options.held()]);
  const common = {
    ...ALL_CHANGED,
    repository: options.repository,
    runId: '',
    revision,
    befores: [],
    holds: [],
  };
  const { selected } = await explain({
    ...common,
    selection: services === null ? { mode: 'all' } : servicesOnly(services),
    force: true,
    unpin: true,
    environment: options.to,
    ledger: taken,
    environmentDigest: options.environmentDigest,
  });
  const asked = selected.filter(({ decision }) => decision === 'run');
  const had = await pastOf(options, 'taken').synced(idsOf(asked), revision);
  const running = asked.filter(({ service }) => !had.has(service));
  if (running.length === 0) return [];
  return unheldOf(running, await explainHeld(common, options.from, held), pastOf(options, 'held'));
}

/**
 * Says whether the commit is the one that the service has, or an older one at which the environment had it as it was then.
 */
export async function ageOf(
  options: PromotionOptions,
  service: string,
  revision: string,
): Promise<'same' | 'older' | 'other'> {
  const now = (await options.taken()).entries.get(service)?.synced?.commit;
  if (now === undefined) return 'other';
  if (now === revision) return 'same';
  const isOlder = (await options.repository.mergeBase(now, revision)) === revision;
  const had = isOlder ? await pastOf(options, 'taken').synced([service], revision) : null;
  return had?.has(service) ? 'older' : 'other';
}

interface Facts {
  taken: Ledger;
  held: Ledger;
  /** Of the environment that holds. */
  past: Past;
}

async function proposeFrom(
  options: PromotionOptions,
  { taken, held, past }: Facts,
  { revision, services }: { revision: string; services: readonly string[] | null },
): Promise<Proposal> {
  const { repository, from, to, environmentDigest } = options;
  const selection = services === null ? ALL_CHANGED.selection : servicesOnly(services);
  const common = { ...ALL_CHANGED, repository, runId: '', revision, befores: [], holds: [] };
  const target = await explain({
    ...common,
    selection,
    environment: to,
    // A promotion into an empty ledger runs every service.
    ledger: { ...taken, baseline: NO_COMMIT },
    environmentDigest,
  });
  const running = target.selected.filter(({ decision }) => decision === 'run');
  const { subject } = await repository.commit(revision);
  const there = running.length === 0 ? null : await explainHeld(common, from, held);
  const last = taken.examined?.commit;
  const commits = await repository.log(revision, last === undefined ? [] : [last], MAX_COMMITS + 1);
  return {
    revision,
    subject,
    from,
    services: running.map(({ service }) => ({ service, from: syncedCommit(taken, service) })),
    unheld: there ? await unheldOf(running, there, past) : [],
    pinned: target.selected.filter(({ decision }) => decision === 'pinned').map(({ service }) => service),
    commits: commits.slice(0, MAX_COMMITS),
    hasMore: commits.length > MAX_COMMITS,
    newer: target.outdated ? (last ?? null) : null,
  };
}

function idsOf(selected: readonly Selected[]): string[] {
  return selected.map(({ service }) => service);
}

function servicesOnly(services: readonly string[]): { mode: 'services'; services: string[] } {
  return { mode: 'services', services: [...services] };
}

function syncedCommit({ entries }: Ledger, service: string): string | null {
  return entries.get(service)?.synced?.commit ?? null;
}

/** Says what a sync of the commit would run in the environment that holds, whatever newer commits it has tried. */
function explainHeld(
  common: Omit<ExplainOptions, 'environment' | 'ledger' | 'environmentDigest'>,
  environment: string,
  ledger: Ledger,
): Promise<Explained> {
  const entries = [...ledger.entries].map(([id, entry]) => [id, asSynced(entry)] as const);
  return explain({
    ...common,
    // Pins and newer commits there do not count: only what was synced.
    rollback: true,
    environment,
    // What counts as deployed was never proven there.
    ledger: { ...ledger, baseline: NO_COMMIT, entries: new Map(entries) },
    environmentDigest: () => '',
  });
}

/** The last success, as if nothing was tried after it. */
function asSynced(entry: LedgerEntry): LedgerEntry {
  return entry.synced === null || entry.outcome === 'removed' ? entry : { ...entry, outcome: 'succeeded' };
}

/**
 * A service is held if a sync of the commit would leave it as it is, or if it once had these inputs there. One that is
 * not for that environment needs no proof.
 */
async function unheldOf(
  running: readonly Selected[],
  { selected, explanation }: Explained,
  past: Past,
): Promise<Proposal['unheld']> {
  const decided = new Map(selected.map((item) => [item.service, item]));
  const doubtful = running.filter(({ service }) => {
    const decision = decided.get(service)?.decision;
    return decision !== 'not_chosen' && decision !== 'excluded';
  });
  const had = await past.synced(idsOf(doubtful), explanation.revision);
  return doubtful
    .filter(({ service }) => !had.has(service))
    .map(({ service }) => ({ service, because: decided.get(service)?.because ?? 'It is not there.' }));
}
