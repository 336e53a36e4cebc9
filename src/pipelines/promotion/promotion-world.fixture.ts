/** Two environments of one repository, staging and production, where production takes what staging holds. */

import { hash } from 'node:crypto';
import { join } from 'node:path';
import { createWorkspace } from '../../git/own/workspace.ts';
import type { ApprovalRequest, Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { holdsAt } from '../../runs/sync/hold.ts';
import { type Place, placeInput, scopeOf } from '../../runs/sync/place.ts';
import { boundTo } from '../../runs/sync/promotion.ts';
import type { Promotion, Selection } from '../../runs/sync/sync-input.ts';
import { MINUTE } from '../../units.ts';
import type { SyncOptions } from '../sync/sync-service.ts';
import { createSyncWorld } from '../sync/sync-world.fixture.ts';
import { type PromotionCheck, refusePromotion } from './check.ts';
import { type PromotionOptions, propose, unproven } from './propose.ts';

const REPOSITORY = 'acme/platform';
const STAGING: Place = { repository: REPOSITORY, environment: 'staging', branch: 'main' };
export const PRODUCTION: Place = { repository: REPOSITORY, environment: 'production', branch: 'main' };

/** The commits at which the place has synced each service. */
async function syncedIn(store: RunStore, place: Place): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  for (const { id, revision } of await store.runs({ concurrencyGroup: scopeOf(place), limit: 100 })) {
    for (const step of await store.steps(id)) {
      if (step.state !== 'succeeded' || revision === null) continue;
      found.set(step.id, [...(found.get(step.id) ?? []), revision]);
    }
  }
  return found;
}

export type PromotionWorld = Awaited<ReturnType<typeof createPromotionWorld>>;

export async function createPromotionWorld(approval: PromotionCheck['approval'] = 'none') {
  const world = await createSyncWorld();
  const { store, git, mirror, root, options } = world;
  const check: PromotionCheck = {
    approval,
    from: 'staging',
    latestDecision: (runId) => store.latestEvent(runId, 'run.decided'),
    unproven: (revision, services) => unproven(promotion, revision, services),
  };
  const optionsOf = (place: Place, more: Partial<SyncOptions>): SyncOptions => ({
    ...options,
    ...more,
    environment: place.environment,
    holds: async () => holdsAt(place, await store.holds()),
    workspace: createWorkspace({ git, mirror, directory: join(root, `work/platform@${place.environment}`) }),
    lockPath: join(root, `work/.sync.platform@${place.environment}.lock`),
  });
  world.places.set(scopeOf(STAGING), optionsOf(STAGING, {}));
  world.places.set(
    scopeOf(PRODUCTION),
    optionsOf(PRODUCTION, { refuse: (run, found) => refusePromotion(check, run, found) }),
  );
  const promotion: PromotionOptions = {
    repository: mirror,
    from: 'staging',
    to: 'production',
    held: () => store.ledger(scopeOf(STAGING)),
    taken: () => store.ledger(scopeOf(PRODUCTION)),
    heldBefore: () => syncedIn(store, STAGING),
    takenBefore: () => syncedIn(store, PRODUCTION),
    environmentDigest: () => '',
  };

  async function promotionOf(revision: string, changes: Partial<Promotion>): Promise<Promotion> {
    const { services, commits, from } = await propose(promotion, revision, null);
    return { from, services, commits, breakGlass: false, ...changes };
  }

  const askFor = (revision: string, shown: Promotion, selection: Selection, approval?: ApprovalRequest) =>
    world.ask({
      trigger: { source: 'promote_api', actor: 'ada' },
      input: { ...placeInput(PRODUCTION), intent: 'promote', revision, selection, promotion: shown },
      ...(approval && { approval }),
    });

  return {
    ...world,
    promotion,
    /** A push that reaches staging, and the work on it. */
    async pushToStaging(files: Record<string, string | null>): Promise<string> {
      const revision = await world.commit(files);
      const input = { ...placeInput(STAGING), revision };
      await world.ask({ trigger: { source: 'webhook' }, input });
      await world.work();
      return revision;
    },
    /** Asks for a promotion as it was shown, with changes of that, without looking whether staging holds it. */
    async askToPromote(
      revision: string,
      changes: Partial<Promotion> = {},
      selection: Selection = { mode: 'changed' },
    ): Promise<Run> {
      return askFor(revision, await promotionOf(revision, changes), selection);
    },
    /** Asks for a promotion of all services, and lets bob approve it. */
    async promoteApproved(revision: string): Promise<Run> {
      const shown = await promotionOf(revision, {});
      const subject = hash('sha256', boundTo(revision, shown));
      const asked = { subject, expiresAt: Date.now() + MINUTE, message: 'Waiting for somebody' };
      const run = await askFor(revision, shown, { mode: 'changed' }, asked);
      await store.decide(run.id, 'approved', 'bob');
      return run;
    },
  };
}
