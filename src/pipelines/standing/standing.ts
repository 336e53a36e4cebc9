/** Answers for the pages which services of a place are at the head of what it follows. Reads the mirror and the ledger. */

import { describeError, GitError } from '../../errors.ts';
import type { Mirror } from '../../git/own/mirror.ts';
import type { Ledger, LedgerEntry, RunStore } from '../../runs/run-store.ts';
import type { Hold } from '../../runs/sync/hold.ts';
import type { ServiceStanding, Standing } from '../../runs/sync/standing.ts';
import { ofService, type Rules, type Service } from '../rules/service-rules.ts';
import { explain, NO_COMMIT } from '../selection/explain.ts';
import { ALL_CHANGED, type Selected } from '../selection/select-services.ts';
import { serviceState } from './service-state.ts';

export interface StandingOptions {
  mirror: Mirror;
  store: Pick<RunStore, 'ledger' | 'active' | 'steps'>;
  /** The group of runs whose ledger counts. */
  scope: string;
  /** Null: the unnamed one. */
  environment: string | null;
  /** True if the place takes what another one holds. Then nothing counts as deployed before its first promotion. */
  promotes: boolean;
  /** The holds of the place. */
  holds(): Promise<readonly Hold[]>;
  /** Digest of the variables that tasks get. */
  environmentDigest(service: Pick<Service, 'rule'>): string;
}

/** More commits than this are not counted. */
const MAX_COMMITS = 1_000;
/** Each synced commit costs a count, so no more are counted. */
const MAX_COUNTS = 50;

/** Everything that an answer depends on, besides the repository. */
interface Facts {
  head: string;
  ledger: Ledger;
  holds: readonly Hold[];
  /** The ids of the runs that are not over. */
  active: ReadonlySet<string>;
}

/** All callers share one look at the same facts. Never rejects because of git. */
export function createStanding(options: StandingOptions): () => Promise<Standing> {
  let last: { key: string; found: Promise<Standing> } | null = null;
  return async () => {
    try {
      const facts = await readFacts(options);
      if (facts === null) return { head: null, services: [], remarks: [], problem: null };
      const key = keyOf(facts);
      if (last?.key === key) return await last.found;
      const look = { key, found: standingOf(options, facts) };
      last = look;
      look.found.catch(() => {
        if (last === look) last = null;
      });
      return await look.found;
    } catch (error) {
      if (!(error instanceof GitError)) throw error;
      return { head: null, services: [], remarks: [], problem: describeError(error) };
    }
  };
}

async function readFacts({ mirror, store, scope, holds, promotes }: StandingOptions): Promise<Facts | null> {
  const [ledger, standing, active] = await Promise.all([store.ledger(scope), holds(), store.active(scope)]);
  const head = await mirror.head();
  if (head === null) return null;
  const shown = promotes ? { ...ledger, baseline: NO_COMMIT } : ledger;
  return { head, ledger: shown, holds: standing, active: new Set(active.map(({ id }) => id)) };
}

/** Another machine may have synced a commit that was not fetched here yet. */
async function fetchedHead(mirror: Mirror, { head, ledger: { examined } }: Facts): Promise<string> {
  if (examined === null) return head;
  const isKnown = (await mirror.locate([examined.commit])).get(examined.commit) !== 'missing';
  return isKnown ? head : (await mirror.fetch()).head;
}

function keyOf({ head, ledger, holds, active }: Facts): string {
  const { entries, pins, ...rest } = ledger;
  return JSON.stringify([head, [...entries], [...pins], rest, holds, [...active]]);
}

async function standingOf(options: StandingOptions, facts: Facts): Promise<Standing> {
  const { mirror, environment, environmentDigest } = options;
  const { ledger, holds } = facts;
  const head = await fetchedHead(mirror, facts);
  const { selected, loaded } = await explain({
    ...ALL_CHANGED,
    repository: mirror,
    runId: '',
    revision: head,
    environment,
    befores: [],
    ledger,
    holds,
    environmentDigest,
  });
  const count = createCount(mirror, head);
  const found: Stood[] = [];
  for (const item of selected.toSorted(byWave)) {
    const standing = await standingOfService(options, facts, item, count);
    if (standing !== null) found.push(standing);
  }
  const { subject } = await mirror.commit(head);
  const services = addNeeds(found, loaded.rules.needs);
  return { head: { commit: head, subject }, services, remarks: loaded.problems, problem: null };
}

/** A sync would try a failed service again first, so what needs it is blocked until then. */
function addNeeds(found: readonly Stood[], needs: Rules['needs']): ServiceStanding[] {
  const failed = new Map(found.map(({ service, state }) => [service, state === 'failed' ? FAILED : null]));
  return found.map((one) => {
    const { service } = one;
    const own = ofService(needs, service) ?? [];
    const neededBy = Object.keys(needs).filter((other) => ofService(needs, other)?.includes(service));
    const whole = { ...one, needs: own, neededBy };
    const problem = own.find((need) => failed.get(need));
    if (problem === undefined || (one.state !== 'behind' && one.state !== 'never')) return whole;
    const message = `Needs ${problem}, ${failed.get(problem)}. ${one.message}`;
    failed.set(service, 'which is blocked');
    return { ...whole, state: 'blocked', message };
  });
}

const FAILED = 'whose last sync failed';

function byWave(one: Selected, other: Selected): number {
  return one.wave - other.wave || (one.service < other.service ? -1 : 1);
}

type Stood = Omit<ServiceStanding, 'needs' | 'neededBy'>;
type Count = (commit: string) => Promise<number | null>;

async function standingOfService(
  { store }: Pick<StandingOptions, 'store'>,
  { ledger, active }: Facts,
  selected: Selected,
  count: Count,
): Promise<Stood | null> {
  const { service, folder, wave, because } = selected;
  const entry = ledger.entries.get(service) ?? null;
  const pin = ledger.pins.get(service) ?? null;
  const isSyncing = entry?.outcome === 'started' && active.has(entry.attemptedRunId);
  const state = serviceState({ selected, entry, pin, isSyncing });
  if (state === null) return null;
  const synced = entry?.synced ? { commit: entry.synced.commit, at: entry.synced.at } : null;
  return {
    service,
    folder,
    wave,
    state,
    message: (state === 'failed' && entry ? await failureOf(store, entry) : null) ?? because,
    synced,
    behindBy: state === 'up_to_date' ? 0 : synced && (await count(synced.commit)),
    lastRunId: entry?.attemptedRunId ?? null,
    pin,
  };
}

async function failureOf(store: StandingOptions['store'], entry: LedgerEntry): Promise<string | null> {
  const steps = await store.steps(entry.attemptedRunId);
  return steps.find(({ id }) => id === entry.service)?.message ?? null;
}

/** Counts the commits that the head has and another one has not. Null for a commit that is not here. */
function createCount(mirror: Mirror, head: string): Count {
  const counted = new Map<string, Promise<number | null>>();
  async function count(commit: string): Promise<number | null> {
    if ((await mirror.locate([commit])).get(commit) === 'missing') return null;
    return (await mirror.log(head, [commit], MAX_COMMITS)).length;
  }
  return (commit) => {
    const known = counted.get(commit);
    if (known) return known;
    if (counted.size >= MAX_COUNTS) return Promise.resolve(null);
    const found = count(commit);
    counted.set(commit, found);
    return found;
  };
}
