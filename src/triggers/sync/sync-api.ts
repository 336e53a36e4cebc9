/** POST /sync: a signed request of an operator that names services, or all of them. */

import type { Context, Handler } from 'hono';
import { z } from 'zod';
import { NonceSpentError, RequestError } from '../../errors.ts';
import { enqueueSync } from '../../runs/enqueue.ts';
import type { Selection } from '../../runs/run.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { replaceUnseen } from '../../runs/texts/unseen-characters.ts';
import { MEBIBYTE, MINUTE, SECOND } from '../../units.ts';
import { type Secret, type Stamp, stampPrefix } from '../signature.ts';
import { type Gate, readSignedJson } from '../signed-body.ts';

/** The clock of the sender may be wrong by this much; a nonce is remembered twice as long. */
const TIMESTAMP_WINDOW_MS = 5 * MINUTE;
const MAX_SERVICES = 10_000;
const MAX_BODY_BYTES = MEBIBYTE;
const SHOWN_PROBLEMS = 10;

export interface SyncApiOptions {
  store: RunStore;
  secrets: readonly Secret[];
  gate: Gate;
  branch: string;
  /** Refuse requests that are not signed with a time and a nonce. */
  requireTimestamp: boolean;
  /** The services of the branch. Fetches the branch when it does not know one of `named`. */
  services(named: readonly string[]): Promise<ServiceIds>;
  /** Resolves to whether a commit is on the branch. */
  isOnBranch(revision: string): Promise<boolean>;
  runUrl(runId: string): string;
  now(): number;
}

interface ServiceIds {
  runnable: readonly string[];
  excluded: readonly string[];
  /** For each id that several folders claim, a sentence that names the folders. */
  ambiguous: ReadonlyMap<string, string>;
}

const syncSchema = z.strictObject({
  services: z.array(z.string()).max(MAX_SERVICES).optional(),
  all: z.boolean().optional(),
  force: z.boolean().optional(),
  dry_run: z.boolean().optional(),
  unpin: z.boolean().optional(),
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
    const selection = await select(options, body);
    const { revision = null, force = false, dry_run: dryRun = false, unpin = false } = body;
    if (revision !== null && !(await options.isOnBranch(revision))) {
      throw new RequestError(400, `The commit ${revision} is not on ${options.branch}`);
    }
    const announced = selection.services;
    const expiresAt = options.now() + 2 * TIMESTAMP_WINDOW_MS;
    const stored = enqueueSync(options.store, {
      trigger: { source: 'sync_api' },
      // The nonce is spent with the run: a request that was refused may be sent again.
      nonce: stamp && { value: stamp.nonce, expiresAt },
      input: {
        branch: options.branch,
        revision,
        selection: selection.mode,
        force,
        dryRun,
        unpin,
        announced,
      },
    });
    const { run } = await stored.catch((error: unknown) => {
      if (!(error instanceof NonceSpentError)) throw error;
      throw new RequestError(401, 'This nonce was used before; sign the request again', { cause: error });
    });
    return context.json({
      status: 'accepted',
      services: announced,
      run_id: run.id,
      url: options.runUrl(run.id),
    });
  };
}

type SyncBody = z.output<typeof syncSchema>;

/** Throws RequestError 400. */
export function parseSyncBody(payload: unknown): SyncBody {
  const result = syncSchema.safeParse(payload);
  if (result.success) return result.data;
  throw new RequestError(400, describeIssues(result.error.issues));
}

/** Names the first mistakes and counts the others, because a body may consist of nothing else. */
function describeIssues(issues: readonly z.core.$ZodIssue[]): string {
  const problems = issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) => `Unrecognized key: ${quoted(key)}`);
    const field = issue.path.join('.');
    return field ? `${field}: ${issue.message}` : issue.message;
  });
  const rest = problems.length - SHOWN_PROBLEMS;
  const shown = problems.slice(0, SHOWN_PROBLEMS).join('; ');
  return rest > 0 ? `${shown}; and ${rest} more` : shown;
}

/** A name from the request, without characters that hide or turn around the text beside it. */
function quoted(name: string): string {
  const shown = name.length > 100 ? `${name.slice(0, 100)}…` : name;
  return replaceUnseen(JSON.stringify(shown.toWellFormed()), '\ufffd');
}

async function select(
  options: SyncApiOptions,
  body: SyncBody,
): Promise<{ mode: Selection; services: string[] }> {
  const named = [...new Set(body.services ?? [])].sort();
  if (body.all !== true && named.length === 0) throw new RequestError(400, 'No services specified');
  // "All" means the services that the branch has now; a wrong name beside it is refused like any other.
  const ids = await options.services(body.all === true ? [] : named);
  const known = new Set(ids.runnable);
  const refused = named.filter((name) => !known.has(name));
  if (refused.length > 0) throw new RequestError(400, refusal(refused, ids));
  if (body.all === true) return { mode: { mode: 'all' }, services: [...ids.runnable] };
  return { mode: { mode: 'services', services: named }, services: named };
}

function refusal(names: string[], { excluded, ambiguous }: ServiceIds): string {
  const shown = names.slice(0, SHOWN_PROBLEMS);
  const isExcluded = new Set(excluded);
  const kind = (name: string) => (isExcluded.has(name) ? 'Excluded' : 'Unknown');
  const parts = shown
    .filter((name) => !ambiguous.has(name))
    .map((name) => `${kind(name)} service ${quoted(name)}`);
  if (names.length > shown.length) parts.push(`and ${names.length - shown.length} more`);
  const sentences = shown.flatMap((name) => ambiguous.get(name) ?? []);
  return [...(parts.length > 0 ? [parts.join(', ')] : []), ...sentences].join('; ');
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
