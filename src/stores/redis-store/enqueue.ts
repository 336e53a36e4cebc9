/** Takes requests in: the run, what it is called again by, its delivery and what is sealed, in one step. */

import { randomUUID } from 'node:crypto';
import { NonceSpentError } from '../../errors.ts';
import type { Run, RunRequest } from '../../runs/run.ts';
import { answersAgain, QUEUED_MESSAGES, supersededBy } from '../../runs/run-decisions.ts';
import { type Nonce, REPORTERS_OF, type RunStore } from '../../runs/run-store.ts';
import { timeOrderedId } from '../sql/time-ordered-id.ts';
import { draftEvent, draftEvents, readBackground } from './append-events.ts';
import { draftDelivery } from './deliveries.ts';
import { createDraft, type Draft, expectBelow, expectSame } from './draft.ts';
import { NEW_DELIVERY, NEW_RUN } from './keys.ts';
import { type Room, untilCommitted } from './room.ts';
import { draftInsert, readStoredRun } from './stored-run.ts';

const KEPT_NONCES_MS = 86_400_000;

/** As in RunStore. */
export async function enqueue(
  room: Room,
  request: RunRequest,
  beside: NonNullable<Parameters<RunStore['enqueue']>[1]> = {},
): Promise<{ run: Run; created: boolean }> {
  const { delivery, sealed, nonce } = beside;
  return untilCommitted(async () => {
    const draft = createDraft({ isRequest: true });
    if (nonce) await draftNonce(room, draft, nonce);
    const { run, created } = await draftEnqueue(room, draft, request, room.queueLimit);
    if (created && sealed !== undefined) draft.writes.push(['SET', room.keys.sealed(run.id), sealed]);
    if (delivery) {
      const decision = created ? delivery.decision : 'duplicate';
      draftDelivery(draft, room.keys, NEW_DELIVERY, { ...delivery, decision, runId: run.id, request });
    }
    if (draft.writes.length === 0) return { done: { run, created } };
    return (await room.committer.commit(draft)) && { done: { run, created } };
  });
}

async function draftNonce(
  { connection, keys }: Room,
  draft: Draft,
  { value, expiresAt }: Nonce,
): Promise<void> {
  const asked: [string, string, string] = ['ZSCORE', keys.nonces, value];
  const known = await connection.call(...asked);
  if (known !== null) throw new NonceSpentError('The nonce of the request was spent before.');
  expectSame(draft, asked, null);
  draft.writes.push(['ZADD', keys.nonces, expiresAt, value]);
  // The latest are kept longer, so that a clock that was wrong for a while does not forget what was spent before.
  draft.writes.push(['ZREMRANGEBYSCORE', keys.nonces, '-inf', Date.now() - KEPT_NONCES_MS]);
}

/** Finds the run that the request stands for already, or adds a new one to the draft. */
export async function draftEnqueue(
  { connection, keys }: Room,
  draft: Draft,
  request: RunRequest,
  queueLimit: number,
): Promise<{ run: Run; created: boolean }> {
  const { dedupeKey, concurrencyGroup, coalesce } = request;
  const [earlierId = null, heldBy = null] = await connection.all([
    ['HGET', keys.dedupe, dedupeKey ?? ''],
    ['HGET', keys.held, concurrencyGroup],
  ]);
  if (dedupeKey !== null) {
    const earlier = typeof earlierId === 'string' ? await readStoredRun(connection, keys, earlierId) : null;
    if (earlier && answersAgain(earlier.run, request)) return { run: earlier.run, created: false };
    expectSame(draft, ['HGET', keys.dedupe, dedupeKey], earlierId);
  }
  const at = Date.now();
  const run = newRun(request, timeOrderedId(at), at);
  const operation = randomUUID();
  if (Number.isFinite(queueLimit)) expectBelow(draft, ['ZCARD', keys.waiting], queueLimit);
  draftEvent(draft, keys, run.id, { event: { type: 'run.queued' }, seq: 1, at, operation });
  draftInsert(draft, keys, run);
  for (const reporter of REPORTERS_OF[run.kind]) {
    draft.writes.push(['ZADD', keys.unreported(reporter), NEW_RUN, run.id]);
  }
  draft.changed.push(run.id);
  if (coalesce) {
    expectSame(draft, ['HGET', keys.held, concurrencyGroup], heldBy);
    const holder = typeof heldBy === 'string' ? await readStoredRun(connection, keys, heldBy) : null;
    // What waits for somebody's approval would hold its group, although nobody needs it any more.
    if (holder?.run.state === 'awaiting_approval') {
      const events = [supersededBy(holder.run, run.id)];
      const background = await readBackground(connection, keys, holder.run, events);
      draftEvents(draft, keys, holder, events, background, { at, operation });
    }
  }
  return { run, created: true };
}

function newRun(request: RunRequest, id: string, at: number): Run {
  return {
    ...request,
    id,
    priority: request.priority ?? 0,
    labels: request.labels ?? [],
    state: 'queued',
    reason: null,
    message: QUEUED_MESSAGES[request.kind],
    revision: null,
    subject: null,
    attempt: 0,
    handBacks: 0,
    cancelRequestedBy: null,
    coveredBy: null,
    chosen: 0,
    notBefore: 0,
    approvalExpiresAt: null,
    createdAt: at,
    startedAt: null,
    finishedAt: null,
  };
}
