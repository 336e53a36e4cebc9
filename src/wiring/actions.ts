/** Builds what operators may do on the branch: hold and release, and take services back. */

import { createHoldApi, type HoldApi } from '../triggers/holds/hold-api.ts';
import { createRollbackApi, type RollbackApi } from '../triggers/sync/rollback-api.ts';
import type { Work } from './work.ts';

export interface Actions {
  holds: HoldApi;
  rollBack: RollbackApi;
}

export function buildActions({
  store,
  sync: { places },
  log,
}: Pick<Work, 'store' | 'sync' | 'log'>): Actions {
  return {
    holds: createHoldApi({ store, places, now: Date.now, log }),
    rollBack: createRollbackApi({ store, places }),
  };
}
