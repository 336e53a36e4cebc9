/** POST /sync: a signed request of an operator that names services, or all of them. */

import type { Context, Handler } from 'hono';
import { z } from 'zod';
import { NonceSpentError, RequestError } from '../../errors.ts';
import { enqueueSync } from '../../runs/enqueue.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { placeInput } from '../../runs/sync/place.ts';
import type { Selection } from '../../runs/sync/sync-input.ts';
import { MEBIBYTE, MINUTE, SECOND } from '../../units.ts';
import { findPlace } from '../place.ts';
import type { PromotePlace } from '../promote/promote-place.ts';
import { requireRepeatable } from '../promote/repeat.ts';
import { describeIssues } from '../request-problems.ts';
import { requireRunnable } from '../service-ids.ts';
import { type Secret, type Stamp, stampPrefix } from '../signature.ts';
import { type Gate, readSignedJson } from '../signed-body.ts';

/** The clock of the sender may be wrong by this much; a nonce is remembered twice as long. */
const TIMESTAMP_WINDOW_MS = 5 * MINUTE;
const MAX_SERVICES = 10_000;
const MAX_BODY_BYTES = MEBIBYTE;

export interface SyncApiOptions {
  store: RunStore;
  secrets: readonly Secret[];
  gate: Gate;
  places: readonly PromotePlace[];
  /** Refuse requests that are not signed with a time and a nonce. */
  requireTimestamp: boolean;
  runUrl(runId: string): string;
  now(): number;
}

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

/** Answers by the table of docs/sync.md. */
export function createSyncApi(options: SyncApiOptions): Handler {
  return async function syncApi(context) {
    const stamp = readStamp(context, options);
    const prefix = stamp && stampPrefix(stamp);
    const { secrets, gate } = options;
    const body = parseSyncBody(
      await readSignedJson(context, { secrets, gate, prefix, maxBytes: MAX_BODY_BYTES }),
    );
    if (body.override_hold) throw new RequestError(403, NO_OVERRIDE);
    const found = findPlace(body, options.places);
    const { place } = found;
    const selection = await select(found, body);
    const { revision = null, force = false, dry_run: dryRun = false, unpin = false } = body;
    if (revision !== null && !(await found.isOnBranch(revision))) {
      throw new RequestError(400, `The commit ${revision} is not on ${place.branch}`);
    }
    const announced = selection.services;
    const named = selection.mode.mode === 'services' ? announced : null;
    const asked = { revision, services: named, dryRun, unpin };
    const repeated = await repeatedIn(found, asked, options.now());
    const expiresAt = options.now() + 2 * TIMESTAMP_WINDOW_MS;
    const stored = enqueueSync(options.store, {
      trigger: { source: 'sync_api' },
      // The nonce is spent with the run: a request that was refused may be sent again.
      nonce: stamp && { value: stamp.nonce, expiresAt },
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
    const { run } = await stored.catch(refuseSpentNonce);
    return context.json({
      status: 'accepted',
      services: announced,
      run_id: run.id,
      url: options.runUrl(run.id),
    });
  };
}

function refuseSpentNonce(cause: unknown): never {
  if (!(cause instanceof NonceSpentError)) throw cause;
  throw new RequestError(401, 'This nonce was used before; sign the request again', { cause });
}

/** Returns null for a place that follows by itself. */
async function repeatedIn(
  { promoting, ...found }: PromotePlace,
  asked: Parameters<typeof requireRepeatable>[1],
  now: number,
) {
  return promoting && requireRepeatable({ ...found, promoting }, asked, now);
}

/** A signature does not say who sends the request. */
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

/** The time and nonce of the request, or undefined when it has none and needs none. */
function readStamp(context: Context, { requireTimestamp, now }: SyncApiOptions): Stamp | undefined {
  const timestamp = context.req.header('x-iac-timestamp');
  const nonce = context.req.header('x-iac-nonce');
  if (timestamp === undefined && nonce === undefined) {
    if (requireTimestamp) throw new RequestError(401, 'X-IAC-Timestamp and X-IAC-Nonce are required');
    return undefined;
  }
  if (!/^\d{1,12}$/.test(timestamp ?? '') || !/^[A-Za-z0-9_-]{8,128}$/.test(nonce ?? '')) {
    throw new RequestError(401, 'X-IAC-Timestamp or X-IAC-Nonce is missing or malformed');
  }
  if (Math.abs(now() - Number(timestamp) * SECOND) > TIMESTAMP_WINDOW_MS) {
    throw new RequestError(401, 'X-IAC-Timestamp is more than 300 s off; check the clock');
  }
  return { timestamp: timestamp ?? '', nonce: nonce ?? '' };
}
