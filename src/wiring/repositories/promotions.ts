/** Builds what promotions need: which commits an environment may take, and what they would change. */

import type { Logger } from 'pino';
import type { Config } from '../../config.ts';
import {
  ageOf,
  type PromotionOptions,
  propose,
  proposeNewest,
  unproven,
} from '../../pipelines/promotion/propose.ts';
import { answer } from '../../pipelines/selection/known-services.ts';
import { environmentDigests } from '../../pipelines/sync/task-environment.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { PromotePlace, Promoting } from '../../triggers/promote/promote-place.ts';
import { startPromoter } from '../../triggers/timers/promoter.ts';
import { type OpenPlace, taskEnvironment } from './places.ts';

/** Runs that are older do not show what an environment had. */
const MAX_RUNS = 300;
const RUNS_PER_READ = 100;

/** A place with what requests may do with it. */
export type ActivePlace = OpenPlace & PromotePlace;

export function withPromotions(config: Config, store: RunStore, places: readonly OpenPlace[]): ActivePlace[] {
  return places.map((open) => ({ ...open, promoting: promotingOf(config, store, open, places) }));
}

function promotingOf(
  config: Config,
  store: RunStore,
  open: OpenPlace,
  places: readonly OpenPlace[],
): Promoting | null {
  const options = promotionOptions(config, store, open, places);
  const { promotion, mirror } = open;
  if (promotion === null || options === null) return null;
  return {
    ...promotion,
    from: promotion.promote,
    approvalTimeoutMs: config.deploy.approvalTimeoutMs,
    propose: (revision, services) => answer(() => propose(options(), revision, services)),
    proposeNewest: (services) =>
      answer(async () => {
        // Another machine may have synced a commit that is not here yet.
        await mirror.fetch();
        return proposeNewest(options(), services);
      }),
    taken: () => options().taken(),
    ageOf: (service, revision) => answer(() => ageOf(options(), service, revision)),
    unproven: (revision, services) => answer(() => unproven(options(), revision, services)),
  };
}

/** Returns what is asked for each question anew, or null for a place that follows by itself. */
export function promotionOptions(
  config: Config,
  store: RunStore,
  open: OpenPlace,
  places: readonly OpenPlace[],
): (() => PromotionOptions) | null {
  const { promotion, scope, mirror } = open;
  if (promotion === null) return null;
  const source = sourceOf(open, places);
  return () => ({
    repository: mirror,
    from: promotion.promote,
    to: open.environment.name ?? '',
    held: () => store.ledger(source.scope),
    taken: () => store.ledger(scope),
    heldBefore: () => syncedBefore(store, source.scope),
    takenBefore: () => syncedBefore(store, scope),
    environmentDigest: environmentDigests(taskEnvironment(config, open)),
  });
}

/** Returns the place that holds what this one takes. */
function sourceOf({ repository, promotion }: OpenPlace, places: readonly OpenPlace[]): OpenPlace {
  const found = places.find(
    (other) => other.repository === repository && other.environment.name === promotion?.promote,
  );
  if (!found) throw new Error(`There is no environment ${promotion?.promote}.`);
  return found;
}

/** Returns the commits at which a place has synced each service, the newest first. */
async function syncedBefore(
  store: Pick<RunStore, 'runs' | 'steps'>,
  scope: string,
): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  let before: string | undefined;
  for (let read = 0; read < MAX_RUNS; read += RUNS_PER_READ) {
    const page = { concurrencyGroup: scope, limit: RUNS_PER_READ, ...(before !== undefined && { before }) };
    const runs = await store.runs(page);
    for (const { id, revision } of runs) {
      const steps = revision === null ? [] : await store.steps(id);
      for (const { id: service, state } of steps) {
        if (state === 'succeeded') found.set(service, [...(found.get(service) ?? []), revision ?? '']);
      }
    }
    before = runs.at(-1)?.id;
    if (runs.length < RUNS_PER_READ) break;
  }
  return found;
}

/** Starts to promote by itself where the configuration says so. Returns the functions that end this. */
export function startPromoters(
  store: RunStore,
  places: readonly ActivePlace[],
  log: Logger,
): (() => Promise<void>)[] {
  return places.flatMap((open) => {
    const { promoting, promotion } = open;
    if (promoting === null || !promotion?.automatic) return [];
    const heldScope = sourceOf(open, places).scope;
    const promoter = startPromoter({ store, open: { ...open, promoting }, heldScope, now: Date.now, log });
    return [promoter.stop];
  });
}
