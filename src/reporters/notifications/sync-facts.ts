/** Reads from the store what decides which notices there are about a sync. */

import { isFinal, type Run, type Step, type SyncRun } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { endOf, lastEndedBefore, runsLike } from './earlier-runs.ts';
import { failedAsWhole, type Outcome, outcomeOf, type SyncFacts } from './sync-notices.ts';

export type SyncFactsStore = Pick<RunStore, 'holds' | 'latestEvent' | 'runs' | 'serviceHistory' | 'steps'>;

/** So many steps of a service are looked at to find the one before. */
const STEPS_LOOKED_AT = 20;

export async function readSyncFacts(
  store: SyncFactsStore,
  run: SyncRun,
  repository: string,
): Promise<SyncFacts> {
  // A run that waits in the queue, of which there may be many, has met no hold.
  const held = run.startedAt === null ? null : await readHeld(store, run);
  const known = { run, repository, held };
  if (!isFinal(run.state) || run.input.dryRun) {
    return { ...known, steps: [], before: new Map(), placeHadFailed: false };
  }
  const steps = await store.steps(run.id);
  return {
    ...known,
    steps,
    before: await readBefore(store, run, steps),
    placeHadFailed: await placeHadFailed(store, run),
  };
}

/** How the last earlier step of each service ended that has a step in the run. */
async function readBefore(
  store: SyncFactsStore,
  { id, concurrencyGroup }: SyncRun,
  steps: readonly Step[],
): Promise<Map<string, Outcome>> {
  const before = new Map<string, Outcome>();
  for (const step of steps) {
    if (outcomeOf(step) === null) continue;
    const history = await store.serviceHistory(concurrencyGroup, step.id, STEPS_LOOKED_AT);
    const earlier = history
      .filter((one) => one.run.id !== id && endOf(one.step) < endOf(step) && outcomeOf(one.step) !== null)
      .toSorted((one, other) => endOf(one.step) - endOf(other.step))
      .at(-1);
    const outcome = earlier && outcomeOf(earlier.step);
    if (outcome) before.set(step.id, outcome);
  }
  return before;
}

async function placeHadFailed(store: SyncFactsStore, run: SyncRun): Promise<boolean> {
  const others = (await runsLike<'sync'>(store, run))
    .filter(({ input }) => !input.dryRun)
    .filter(({ state }) => state !== 'cancelled' && state !== 'superseded');
  const earlier = lastEndedBefore(others, run);
  return earlier !== undefined && failedAsWhole(earlier, await store.steps(earlier.id));
}

/** Null as well if the hold has ended, because nobody can do anything about it then. */
async function readHeld(store: SyncFactsStore, run: SyncRun): Promise<SyncFacts['held']> {
  const met = await readMet(store, run);
  if (met === null) return null;
  const hold = (await store.holds()).find(({ id }) => met.holds.includes(id));
  if (hold === undefined) return null;
  for (const other of await runsLike<'sync'>(store, run)) {
    if (other.id >= run.id || endOf(other) < hold.createdAt) continue;
    if ((await readMet(store, other))?.holds.includes(hold.id)) return null;
  }
  return { hold, services: met.services, at: met.at };
}

interface Met {
  holds: readonly string[];
  services: readonly string[];
  at: number;
}

/** The holds that the run waits for, or that some of its services were left out for. */
async function readMet(store: SyncFactsStore, { id }: Run): Promise<Met | null> {
  const left = await store.latestEvent(id, 'run.held');
  if (left !== null) return left;
  const waits = await store.latestEvent(id, 'run.requeued');
  if (!waits?.holds?.length) return null;
  const explained = await store.latestEvent(id, 'run.explained');
  const services = (explained?.explanation.services ?? []).filter(({ decision }) => decision === 'held');
  return { holds: waits.holds, services: services.map(({ service }) => service), at: waits.at };
}
