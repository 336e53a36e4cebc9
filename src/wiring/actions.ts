/** Builds what operators may do on the branch: hold and release, and take services back. */

import type { createKnownServices } from '../pipelines/selection/known-services.ts';
import { createHoldApi, type HoldApi } from '../triggers/holds/hold-api.ts';
import { DEFAULT_ENVIRONMENT } from '../triggers/place.ts';
import { createRollbackApi, type RollbackApi } from '../triggers/sync/rollback-api.ts';
import { repositoryName } from './sync.ts';
import type { Work } from './work.ts';

export interface Actions {
  holds: HoldApi;
  rollBack: RollbackApi;
}

export function buildActions(
  { config, store, log }: Pick<Work, 'config' | 'store' | 'log'>,
  { services, isOnBranch }: ReturnType<typeof createKnownServices>,
): Actions {
  const { branch, url } = config.git;
  const place = { environment: DEFAULT_ENVIRONMENT, repository: config.repository ?? repositoryName(url) };
  return {
    holds: createHoldApi({ store, services, place, now: Date.now, log }),
    rollBack: createRollbackApi({ store, services, isOnBranch, branch, place }),
  };
}
