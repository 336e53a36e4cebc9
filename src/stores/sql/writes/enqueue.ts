/** Stores new runs, or finds the earlier ones that answer the requests. Requests that arrive together are stored together. */

import { NonceSpentError, QueueFullError } from '../../../errors.ts';
import { kindOf } from '../../../runs/kinds/kinds.ts';
import { MAX_UNAPPROVED, type Run, type RunRequest } from '../../../runs/run.ts';
import { answersAgain } from '../../../runs/run-decisions.ts';
import type { RunStore } from '../../../runs/run-store.ts';
import { busyGroups, needsOf, noteQueued } from '../claimable.ts';
import { asKeys, storable, type Transaction, type Written } from '../database.ts';
import { eventData, toNewRow, UNAPPROVED_RUNS } from '../rows.ts';
import { insertNonces, spentNonces } from './beside-runs.ts';
import { insertDeliveries } from './deliveries.ts';
import { firstEvents, newRun } from './new-run.ts';
import { storedRuns } from './stored-runs.ts';
import { supersedeAwaiting } from './supersede-awaiting.ts';

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
  const mayAwait = (group: string) => known.busy.get(group) === true || known.unapproved.has(group);
  await supersedeAwaiting(transaction, created, mayAwait);
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
  if (!isKnown) {
    const full = whyFull(known, request, queueLimit);
    if (full !== null) return new QueueFullError(`The queue is full: ${full}.`);
  }
  const run = isKnown ? earlier : newRun(request, now);
  if (nonce) known.nonces.add(nonce.value);
  if (request.dedupeKey !== null) known.runs.set(request.dedupeKey, run);
  if (!isKnown) count(known, run);
  const changed = isKnown ? [] : [run.id];
  return { result: { run, created: !isKnown }, changed, mayClaim: false, beside, request };
}

/**
 * Runs that await their first approval have a limit of their own, so that approvals which nobody gives do not keep
 * pushes out of the queue.
 */
function whyFull({ queued, awaiting }: Known, { approval }: RunRequest, limit: number): string | null {
  if (approval) return awaiting >= MAX_UNAPPROVED ? `${awaiting} runs await an approval` : null;
  return queued >= limit ? `${queued} runs are waiting` : null;
}

function count(known: Known, { state, concurrencyGroup }: Run): void {
  if (state === 'queued') {
    known.queued += 1;
    return;
  }
  known.awaiting += 1;
  known.unapproved.add(concurrencyGroup);
}

/** Reads what the decisions depend on. */
async function readKnown(transaction: Transaction, calls: readonly EnqueueValues[]) {
  const nonces = calls.flatMap(([, beside]) => beside?.nonce?.value ?? []);
  const groups = calls.map(([{ concurrencyGroup }]) => concurrencyGroup);
  const needApproval = calls.some(([{ approval }]) => approval !== undefined);
  const [runs, counter, busy, unapproved, awaiting, spent] = await Promise.all([
    storedRuns(
      transaction,
      `FROM runs WHERE number IN (
         SELECT (SELECT max(number) FROM runs WHERE dedupe_key = asked.key) FROM json_each(?) AS asked)`,
      asKeys(calls.flatMap(([{ dedupeKey }]) => dedupeKey ?? [])),
    ),
    transaction.get("SELECT value FROM counters WHERE name = 'queued_runs'"),
    busyGroups(transaction, groups),
    transaction.all(
      `SELECT DISTINCT concurrency_group FROM ${UNAPPROVED_RUNS}
         AND concurrency_group IN (SELECT key FROM json_each(?))`,
      asKeys(groups),
    ),
    needApproval ? transaction.get(`SELECT count(*) AS runs FROM ${UNAPPROVED_RUNS}`) : undefined,
    nonces.length === 0 ? new Set<string>() : spentNonces(transaction, nonces),
  ]);
  return {
    runs: new Map(runs.map(({ run }) => [run.dedupeKey ?? '', run])),
    queued: Number(counter?.value),
    busy,
    /** The groups with a run that awaits its first approval, and the number of such runs in all groups. */
    unapproved: new Set(unapproved.map((row) => String(row.concurrency_group))),
    awaiting: Number(awaiting?.runs ?? 0),
    nonces: spent,
  };
}

/** Inserts the runs with their first events and with the data that is kept beside them. */
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
    added.map(({ run, needs, outcome }) => toNewRow(run, needs, firstEvents(outcome.request).length)),
    'RETURNING id, number',
  );
  const numbers = new Map(rows.map(({ id, number }) => [id, Number(number)]));
  const numbered = added.map((one) => {
    const number = numbers.get(one.run.id);
    if (number === undefined) throw new Error('The store gave no row back for a new run.');
    return { ...one, number };
  });
  const [claimable] = await Promise.all([
    noteQueued(
      transaction,
      numbered.filter(({ run }) => run.state === 'queued'),
      busy,
    ),
    insertBeside(transaction, numbered),
  ]);
  for (const { outcome, number } of numbered) if (claimable.has(number)) outcome.mayClaim = true;
}

async function insertBeside(
  transaction: Transaction,
  numbered: readonly { number: number; run: Run; outcome: Enqueued }[],
): Promise<void> {
  const events = numbered.flatMap(({ number, run: { createdAt: at }, outcome: { request } }) =>
    firstEvents(request).map((event, index) => ({
      run: number,
      seq: index + 1,
      at,
      type: event.type,
      data: eventData(event),
    })),
  );
  const sealed = numbered.flatMap(({ number: run, outcome: { beside } }) =>
    beside.sealed === undefined ? [] : { run, text: beside.sealed },
  );
  const unreported = numbered.flatMap(({ number, run }) =>
    kindOf(run).reporters.map((reporter) => ({ reporter, run: number })),
  );
  await Promise.all([
    transaction.insert('events', events),
    transaction.insert('unreported', unreported),
    transaction.insert('sealed', sealed),
  ]);
}
