/** Builds what people may do with places: hold, release, take back, promote, and decide about promotions. */

import type { Run } from '../runs/run.ts';
import { type ApprovalRules, decidersOf, whyNotDecide } from '../runs/sync/promotion.ts';
import { createHoldApi, type HoldApi } from '../triggers/holds/hold-api.ts';
import { createPromoteApi, type PromoteApi } from '../triggers/promote/promote-api.ts';
import { createRollbackApi, type RollbackApi } from '../triggers/sync/rollback-api.ts';
import { createStartSync, type StartSync } from '../triggers/sync/start-sync.ts';
import type { ApprovalRights } from '../web/runs/decisions.ts';
import { createNoteMask } from './note-mask.ts';
import type { Work } from './work.ts';

export interface Actions {
  holds: HoldApi;
  rollBack: RollbackApi;
  promote: PromoteApi;
  startSync: StartSync;
  approvals: ApprovalRights;
}

/** The rules for runs that are no promotions. */
const BY_ADMINS: ApprovalRules = { approval: 'any', approvers: null };

export function buildActions({
  config,
  store,
  places,
  log,
}: Pick<Work, 'config' | 'store' | 'places' | 'log'>): Actions {
  const mask = createNoteMask(config, places);
  const rulesOf = (run: Run): ApprovalRules =>
    places.find(({ scope }) => scope === run.concurrencyGroup)?.promoting ?? BY_ADMINS;
  return {
    holds: createHoldApi({ store, places, now: Date.now, log, mask }),
    rollBack: createRollbackApi({ store, places, mask }),
    startSync: createStartSync({ store, places, now: Date.now }),
    promote: createPromoteApi({ store, places, now: Date.now, log, mask }),
    approvals: {
      whyNot: (run, caller) => whyNotDecide(rulesOf(run), caller, run.trigger.actor),
      deciders: (run) => decidersOf(rulesOf(run)),
    },
  };
}
