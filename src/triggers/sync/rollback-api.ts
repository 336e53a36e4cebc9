/** Takes a service back to an earlier commit in the name of somebody: the rollback of an API token or a session. */

import { z } from 'zod';
import { RequestError } from '../../errors.ts';
import { enqueueSync } from '../../runs/enqueue.ts';
import type { Run } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { placeInput } from '../../runs/sync/place.ts';
import { findPlace } from '../place.ts';
import type { PromotePlace } from '../promote/promote-place.ts';
import { requireHadBefore } from '../promote/repeat.ts';
import { type MaskReason, reasonSchema } from '../reason.ts';
import { describeIssues } from '../request-problems.ts';
import { requireRunnable } from '../service-ids.ts';

export interface RollbackApiOptions {
  store: Pick<RunStore, 'enqueue'>;
  places: readonly PromotePlace[];
  mask: MaskReason;
}

interface RollbackCaller {
  name: string;
  /** True if a rollback of the caller may pass over holds. */
  mayOverride: boolean;
}

export type RollbackApi = (service: string, body: unknown, caller: RollbackCaller) => Promise<Run>;

const rollbackSchema = z.strictObject({
  to: z.string().regex(/^[0-9a-f]{40}$/, 'must be a full commit id of 40 hexadecimal digits'),
  reason: reasonSchema.optional(),
  environment: z.string().optional(),
  repository: z.string().optional(),
  override_hold: z.boolean().optional(),
});

/** The returned function throws RequestError with what is wrong with the request. */
export function createRollbackApi({ store, places, mask }: RollbackApiOptions): RollbackApi {
  return async function rollBack(service, body, { name, mayOverride }) {
    const parsed = rollbackSchema.safeParse(body);
    if (!parsed.success) throw new RequestError(400, describeIssues(parsed.error.issues));
    const { to: revision, reason, override_hold: overrideHold = false } = parsed.data;
    if (overrideHold && !mayOverride) {
      throw new RequestError(403, `To override a hold needs the role admin; ${name} has a lower one`);
    }
    const found = findPlace(parsed.data, places);
    const { place, services, isOnBranch } = found;
    requireRunnable([service], await services([service]));
    if (!(await isOnBranch(revision))) {
      throw new RequestError(400, `The commit ${revision} is not on ${place.branch}`);
    }
    await requireHadBefore(found, service, revision);
    const { run } = await enqueueSync(store, {
      trigger: { source: 'sync_api', actor: name },
      input: {
        ...placeInput(place),
        intent: 'back',
        revision,
        selection: { mode: 'services', services: [service] },
        announced: [service],
        overrideHold,
        ...(reason !== undefined && { note: mask(reason) }),
      },
    });
    return run;
  };
}
