/** Starts what a request for a sync asks for, whoever sent it: signed, or with an API token or a session. */

import { z } from 'zod';
import { RequestError } from '../../errors.ts';
import { enqueueSync } from '../../runs/enqueue.ts';
import type { Run } from '../../runs/run.ts';
import type { Nonce, RunStore } from '../../runs/run-store.ts';
import { placeInput } from '../../runs/sync/place.ts';
import type { Selection } from '../../runs/sync/sync-input.ts';
import { findPlace } from '../place.ts';
import type { PromotePlace } from '../promote/promote-place.ts';
import { requireRepeatable } from '../promote/repeat.ts';
import { describeIssues } from '../request-problems.ts';
import { requireRunnable } from '../service-ids.ts';

const MAX_SERVICES = 10_000;

export interface StartSyncOptions {
  store: Pick<RunStore, 'enqueue'>;
  places: readonly PromotePlace[];
  /** Milliseconds since the epoch. */
  now(): number;
}

/** Who asks. A signature names nobody. */
interface SyncAsker {
  actor: string | null;
  /** It is spent with the run, so that a request that was refused may be sent again. */
  nonce?: Nonce | undefined;
}

/** Throws RequestError with what is wrong with the request. */
export type StartSync = (body: unknown, by: SyncAsker) => Promise<{ run: Run; services: string[] }>;

const syncSchema = z.strictObject({
  services: z.array(z.string()).max(MAX_SERVICES).optional(),
  all: z.boolean().optional(),
  force: z.boolean().optional(),
  dry_run: z.boolean().optional(),
  unpin: z.boolean().optional(),
  override_hold: z.boolean().optional(),
  environment: z.string().optional(),
  repository: z.string().optional(),
  revision: z
    .string()
    .regex(/^[0-9a-f]{40}$/, 'must be a full commit id of 40 hexadecimal digits')
    .optional(),
});

export function createStartSync({ store, places, now }: StartSyncOptions): StartSync {
  return async function startSync(payload, { actor, nonce }) {
    const body = parseSyncBody(payload);
    if (body.override_hold) throw new RequestError(403, NO_OVERRIDE);
    const found = findPlace(body, places);
    const { place } = found;
    const selection = await select(found, body);
    const { revision = null, force = false, dry_run: dryRun = false, unpin = false } = body;
    if (revision !== null && !(await found.isOnBranch(revision))) {
      throw new RequestError(400, `The commit ${revision} is not on ${place.branch}`);
    }
    const announced = selection.services;
    const named = selection.mode.mode === 'services' ? announced : null;
    const asked = { revision, services: named, dryRun, unpin };
    const repeated = await repeatedIn(found, asked, now());
    const { run } = await enqueueSync(store, {
      trigger: { source: 'sync_api', actor },
      nonce,
      ...(repeated?.approval && { approval: repeated.approval }),
      input: {
        ...placeInput(place),
        revision,
        ...(repeated && { revision: repeated.revision, intent: repeated.intent, repeats: true }),
        selection: selection.mode,
        force,
        dryRun,
        unpin,
        announced,
      },
    });
    return { run, services: announced };
  };
}

/** Returns null for a place that follows by itself. */
async function repeatedIn(
  { promoting, ...found }: PromotePlace,
  asked: Parameters<typeof requireRepeatable>[1],
  now: number,
) {
  return promoting && requireRepeatable({ ...found, promoting }, asked, now);
}

const NO_OVERRIDE =
  'Only an admin may override a hold: send the rollback to POST /services/:id/rollback with an API token';

type SyncBody = z.output<typeof syncSchema>;

/** Throws RequestError 400. */
export function parseSyncBody(payload: unknown): SyncBody {
  const result = syncSchema.safeParse(payload);
  if (result.success) return result.data;
  throw new RequestError(400, describeIssues(result.error.issues));
}

async function select(
  { services }: PromotePlace,
  body: SyncBody,
): Promise<{ mode: Selection; services: string[] }> {
  const named = [...new Set(body.services ?? [])].sort();
  if (body.all !== true && named.length === 0) throw new RequestError(400, 'No services specified');
  // "All" means the services that the branch has now; a wrong name beside it is refused like any other.
  const ids = await services(body.all === true ? [] : named);
  requireRunnable(named, ids);
  if (body.all === true) return { mode: { mode: 'all' }, services: [...ids.runnable] };
  return { mode: { mode: 'services', services: named }, services: named };
}
