/** Stores new runs, or finds the earlier ones that answer the requests. Requests that arrive together are stored together. */

import { NonceSpentError, QueueFullError } from '../../../errors.ts';
import { kindOf } from '../../../runs/kinds/kinds.ts';
import type { Run, RunRequest } from '../../../runs/run.ts';
import { answersAgain } from '../../../runs/run-decisions.ts';
import type { RunStore } from '../../../runs/run-store.ts';
import { busyGroups, needsOf, noteQueued } from '../claimable.ts';
import { asKeys, storable, type Transaction, type Written } from '../database.ts';
import { eventData, HOLDING_RUNS, toNewRow } from '../rows.ts';
import { timeOrderedId } from '../time-ordered-id.ts';
import { insertNonces, spentNonces } from './beside-runs.ts';
import { insertDeliveries } from './deliveries.ts';
import { storedRuns } from './stored-runs.ts';
import { supersede } from './supersede.ts';

export type EnqueueValues = [
  request: RunRequest,
  beside?: Parameters<RunStore['enqueue']>[1],
  queueLimit?: number,
];

interface Enqueued extends Written<{ run: Run; created: boolean }> {
  mayClaim: boolean;
  beside: NonNullable<EnqueueValues[1]>;
  request: RunRequest;
}

/** Stores one request. Throws the error that refuses it. */
export async function enqueue(
  transaction: Transaction,
  ...values: EnqueueValues
): Promise<Written<{ run: Run; created: boolean }>> {
  const [outcome] = await enqueueAll(transaction, [values]);
  if (outcome === undefined || outcome instanceof Error) throw outcome;
  transaction.mayClaim ||= outcome.mayClaim;
  return outcome;
}

/**
 * Stores requests as if one came after the other, with a few statements for all of them. An error in the place of a
 * result refuses only that request.
 */
export async function enqueueAll(
  transaction: Transaction,
  calls: readonly EnqueueValues[],
): Promise<(Enqueued | Error)[]> {
  const asked = calls.map(([request, ...rest]): EnqueueValues => [storableRequest(request), ...rest]);
  const known = await readKnown(transaction, asked);
  const now = await transaction.now();
  const outcomes = asked.map((call) => answer(known, call, now));
  const accepted = outcomes.filter((outcome) => 'result' in outcome);
  const created = accepted.filter(({ result }) => result.created);
  await Promise.all([
    insertRuns(transaction, created, known.busy),
    insertNonces(
      transaction,
      accepted.flatMap(({ beside: { nonce } }) => nonce ?? []),
    ),
    insertDeliveries(
      transaction,
      accepted.flatMap(({ beside: { delivery }, request, result: { run, created: isNew } }) =>
        delivery
          ? { ...delivery, decision: isNew ? delivery.decision : 'duplicate', runId: run.id, request }
          : [],
      ),
    ),
  ]);
  await supersedeAwaiting(transaction, created, known.busy);
  return outcomes;
}

/** The keys of a request are compared with stored ones, so they get the form in which they are stored. */
function storableRequest(request: RunRequest): RunRequest {
  const { concurrencyGroup, dedupeKey } = request;
  return {
    ...request,
    concurrencyGroup: storable(concurrencyGroup),
    dedupeKey: dedupeKey === null ? null : storable(dedupeKey),
  };
}

type Known = Awaited<ReturnType<typeof readKnown>>;

/** Decides about a request, and notes the decision for the requests after it. */
function answer(
  known: Known,
  [request, beside = {}, queueLimit = Number.POSITIVE_INFINITY]: EnqueueValues,
  now: number,
): Enqueued | Error {
  const { nonce } = beside;
  if (nonce && known.nonces.has(nonce.value)) {
    return new NonceSpentError('The nonce of the request was spent before.');
  }
  const earlier = request.dedupeKey === null ? undefined : known.runs.get(request.dedupeKey);
  const isKnown = earlier !== undefined && answersAgain(earlier, request);
  if (!isKnown && known.queued >= queueLimit) {
    return new QueueFullError(`The queue is full: ${known.queued} runs are waiting.`);
  }
  const run = isKnown ? earlier : newRun(request, now);
  if (nonce) known.nonces.add(nonce.value);
  if (request.dedupeKey !== null) known.runs.set(request.dedupeKey, run);
  if (!isKnown) known.queued += 1;
  const changed = isKnown ? [] : [run.id];
  return { result: { run, created: !isKnown }, changed, mayClaim: false, beside, request };
}

/** Reads what the decisions depend on. */
async function readKnown(transaction: Transaction, calls: readonly EnqueueValues[]) {
  const nonces = calls.flatMap(([, beside]) => beside?.nonce?.value ?? []);
  const [runs, counter, busy, spent] = await Promise.all([
    storedRuns(
      transaction,
      `FROM runs WHERE number IN (
         SELECT (SELECT max(number) FROM runs WHERE dedupe_key = asked.key) FROM json_each(?) AS asked)`,
      asKeys(calls.flatMap(([{ dedupeKey }]) => dedupeKey ?? [])),
    ),
    transaction.get("SELECT value FROM counters WHERE name = 'queued_runs'"),
    busyGroups(
      transaction,
      calls.map(([{ concurrencyGroup }]) => concurrencyGroup),
    ),
    nonces.length === 0 ? new Set<string>() : spentNonces(transaction, nonces),
  ]);
  return {
    runs: new Map(runs.map(({ run }) => [run.dedupeKey ?? '', run])),
    queued: Number(counter?.value),
    busy,
    nonces: spent,
  };
}

function newRun(request: RunRequest, now: number): Run {
  const { kind, trigger, input, concurrencyGroup, coalesce, dedupeKey, priority = 0, labels = [] } = request;
  return {
    id: timeOrderedId(now),
    kind,
    trigger,
    input,
    concurrencyGroup,
    coalesce,
    dedupeKey,
    priority,
    labels,
    state: 'queued',
    reason: null,
    message: kindOf(request).queued,
    coveredBy: null,
    createdAt: now,
    startedAt: null,
    finishedAt: null,
    notBefore: 0,
    approvalExpiresAt: null,
    cancelRequestedBy: null,
    revision: null,
    subject: null,
    attempt: 0,
    handBacks: 0,
    chosen: 0,
  } as Run;
}

/**
 * Inserts the runs with their first event and with the data that is kept beside them. The first event changes nothing
 * of a run.
 */
async function insertRuns(
  transaction: Transaction,
  created: readonly Enqueued[],
  busy: Known['busy'],
): Promise<void> {
  if (created.length === 0) return;
  const added = created.map((outcome) => {
    const { run } = outcome.result;
    return { outcome, run, needs: needsOf(run) };
  });
  const rows = await transaction.insert(
    'runs',
    added.map(({ run, needs }) => toNewRow(run, needs)),
    'RETURNING id, number',
  );
  const numbers = new Map(rows.map(({ id, number }) => [id, Number(number)]));
  const numbered = added.map((one) => {
    const number = numbers.get(one.run.id);
    if (number === undefined) throw new Error('The store gave no row back for a new run.');
    return { ...one, number };
  });
  const [claimable] = await Promise.all([
    noteQueued(transaction, numbered, busy),
    insertBeside(transaction, numbered),
  ]);
  for (const { outcome, number } of numbered) if (claimable.has(number)) outcome.mayClaim = true;
}

async function insertBeside(
  transaction: Transaction,
  numbered: readonly { number: number; run: Run; outcome: Enqueued }[],
): Promise<void> {
  const data = eventData({ type: 'run.queued' });
  const sealed = numbered.flatMap(({ number: run, outcome: { beside } }) =>
    beside.sealed === undefined ? [] : { run, text: beside.sealed },
  );
  const unreported = numbered.flatMap(({ number, run }) =>
    kindOf(run).reporters.map((reporter) => ({ reporter, run: number })),
  );
  await Promise.all([
    transaction.insert(
      'events',
      numbered.map(({ number, run }) => ({
        run: number,
        seq: 1,
        at: run.createdAt,
        type: 'run.queued',
        data,
      })),
    ),
    transaction.insert('unreported', unreported),
    transaction.insert('sealed', sealed),
  ]);
}

/** Supersedes the waiting run, because it would hold its group although nobody needs its approval any more. */
async function supersedeAwaiting(
  transaction: Transaction,
  created: readonly Enqueued[],
  busy: Known['busy'],
): Promise<void> {
  const covering = new Map<string, Enqueued>();
  for (const outcome of created) {
    const { coalesce, concurrencyGroup: group } = outcome.result.run;
    if (coalesce && busy.get(group) && !covering.has(group)) covering.set(group, outcome);
  }
  if (covering.size === 0) return;
  const holding = await storedRuns(
    transaction,
    `FROM ${HOLDING_RUNS} AND concurrency_group IN (SELECT key FROM json_each(?))`,
    asKeys(covering.keys()),
  );
  for (const stored of holding) {
    const outcome = covering.get(stored.run.concurrencyGroup);
    if (stored.run.state !== 'awaiting_approval' || !outcome) continue;
    transaction.mayClaim = false;
    await supersede(transaction, stored, outcome.result.run.id);
    outcome.changed.push(stored.run.id);
    outcome.mayClaim ||= transaction.mayClaim;
  }
}
