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

const WHOLE_ID_LENGTH = 40;

const rollbackSchema = z.strictObject({
  to: z
    .string()
    .regex(/^[0-9a-f]{7,40}$/, 'must be a commit id of 40 hexadecimal digits, or its first 7 or more'),
  reason: reasonSchema.optional(),
  /** Passes a sync window, and runs the service even if it is unchanged. */
  force: z.boolean().optional(),
  environment: z.string().optional(),
  repository: z.string().optional(),
  override_hold: z.boolean().optional(),
});

/** The returned function throws RequestError with what is wrong with the request. */
export function createRollbackApi({ store, places, mask }: RollbackApiOptions): RollbackApi {
  return async function rollBack(service, body, { name, mayOverride }) {
    const parsed = rollbackSchema.safeParse(body);
    if (!parsed.success) throw new RequestError(400, describeIssues(parsed.error.issues));
    const { to, reason, force = false, override_hold: overrideHold = false } = parsed.data;
    if (overrideHold && !mayOverride) {
      throw new RequestError(403, `To override a hold needs the role admin; ${name} has a lower one`);
    }
    const found = findPlace(parsed.data, places);
    const { place, services } = found;
    requireRunnable([service], await services([service]));
    const revision = await commitOnBranch(found, to);
    await requireHadBefore(found, service, revision);
    const { run } = await enqueueSync(store, {
      trigger: { source: 'sync_api', actor: name },
      input: {
        ...placeInput(place),
        intent: 'back',
        revision,
        selection: { mode: 'services', services: [service] },
        announced: [service],
        force,
        overrideHold,
        ...(reason !== undefined && { note: mask(reason) }),
      },
    });
    return run;
  };
}

/** Returns the whole id. Throws RequestError 400 if the branch has no such commit, or several. */
async function commitOnBranch(
  { place, isOnBranch, commitsBeginningWith }: PromotePlace,
  named: string,
): Promise<string> {
  if (named.length === WHOLE_ID_LENGTH && (await isOnBranch(named))) return named;
  const [only, ...others] = named.length === WHOLE_ID_LENGTH ? [] : await commitsBeginningWith(named);
  if (only === undefined) throw new RequestError(400, `The commit ${named} is not on ${place.branch}`);
  if (others.length === 0) return only;
  throw new RequestError(400, `Several commits of ${place.branch} begin with ${named}; give more digits`);
}
