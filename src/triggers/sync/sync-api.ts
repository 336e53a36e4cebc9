/** POST /sync: a signed request of an operator that names services, or all of them. */

import type { Context, Handler } from 'hono';
import { NonceSpentError, RequestError } from '../../errors.ts';
import { MEBIBYTE, MINUTE, SECOND } from '../../units.ts';
import { type Secret, type Stamp, stampPrefix } from '../signature.ts';
import { type Gate, readSignedJson } from '../signed-body.ts';
import type { StartSync } from './start-sync.ts';

/** The clock of the sender may be wrong by this much; a nonce is remembered twice as long. */
const TIMESTAMP_WINDOW_MS = 5 * MINUTE;
const MAX_BODY_BYTES = MEBIBYTE;

export interface SyncApiOptions {
  start: StartSync;
  secrets: readonly Secret[];
  gate: Gate;
  /** Refuse requests that are not signed with a time and a nonce. */
  requireTimestamp: boolean;
  runUrl(runId: string): string;
  now(): number;
}

/** Answers by the table of docs/sync.md. */
export function createSyncApi(options: SyncApiOptions): Handler {
  return async function syncApi(context) {
    const stamp = readStamp(context, options);
    const prefix = stamp && stampPrefix(stamp);
    const { secrets, gate, now, start, runUrl } = options;
    const body = await readSignedJson(context, { secrets, gate, prefix, maxBytes: MAX_BODY_BYTES });
    const nonce = stamp && { value: stamp.nonce, expiresAt: now() + 2 * TIMESTAMP_WINDOW_MS };
    const { run, services } = await start(body, { actor: null, nonce }).catch(refuseSpentNonce);
    return context.json({ status: 'accepted', services, run_id: run.id, url: runUrl(run.id) });
  };
}

function refuseSpentNonce(cause: unknown): never {
  if (!(cause instanceof NonceSpentError)) throw cause;
  throw new RequestError(401, 'This nonce was used before; sign the request again', { cause });
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
