/** A new run, or the earlier one that answers the request. */

import { NonceSpentError, QueueFullError } from '../../../errors.ts';
import { kindOf } from '../../../runs/kinds/kinds.ts';
import type { Run, RunRequest } from '../../../runs/run.ts';
import { answersAgain } from '../../../runs/run-decisions.ts';
import type { RunStore } from '../../../runs/run-store.ts';
import { insertEvent } from '../append-events.ts';
import { needsOf, noteQueued } from '../claimable.ts';
import type { Transaction, Written } from '../database.ts';
import { HOLDING_RUNS, RUN_COLUMNS, type StoredRun, toStoredRun } from '../rows.ts';
import { timeOrderedId } from '../time-ordered-id.ts';
import { spendNonce } from './beside-runs.ts';
import { recordDelivery } from './deliveries.ts';
import { saveBeside, storedRuns, supersede } from './stored-runs.ts';

interface Enqueued {
  stored: StoredRun;
  created: boolean;
  changed: string[];
}

export async function enqueue(
  transaction: Transaction,
  request: RunRequest,
  { delivery, sealed, nonce }: NonNullable<Parameters<RunStore['enqueue']>[1]> = {},
  queueLimit = Number.POSITIVE_INFINITY,
): Promise<Written<{ run: Run; created: boolean }>> {
  if (nonce && !(await spendNonce(transaction, nonce.value, nonce.expiresAt)).result) {
    throw new NonceSpentError('The nonce of the request was spent before.');
  }
  const { stored, created, changed } = await findOrInsert(transaction, request, queueLimit);
  const { run, number } = stored;
  if (created && sealed !== undefined) await saveBeside(transaction, 'sealed', number, sealed);
  if (delivery) {
    const decision = created ? delivery.decision : 'duplicate';
    await recordDelivery(transaction, { ...delivery, decision, runId: run.id, request });
  }
  return { result: { run, created }, changed };
}

async function findOrInsert(
  transaction: Transaction,
  request: RunRequest,
  queueLimit: number,
): Promise<Enqueued> {
  if (request.dedupeKey !== null) {
    const [earlier] = await storedRuns(
      transaction,
      'FROM runs WHERE dedupe_key = ? ORDER BY number DESC LIMIT 1',
      request.dedupeKey,
    );
    if (earlier && answersAgain(earlier.run, request))
      return { stored: earlier, created: false, changed: [] };
  }
  const counter = await transaction.get("SELECT value FROM counters WHERE name = 'queued_runs'");
  const queued = Number(counter?.value);
  if (queued >= queueLimit) throw new QueueFullError(`The queue is full: ${queued} runs are waiting.`);
  const stored = await insertRun(transaction, request);
  const outdated = request.coalesce ? await awaitingApproval(transaction, request.concurrencyGroup) : [];
  for (const other of outdated) await supersede(transaction, other, stored.run.id);
  return { stored, created: true, changed: [stored, ...outdated].map(({ run }) => run.id) };
}

/** A run that waits for somebody's approval would hold its group, although nobody needs it any more. */
async function awaitingApproval(transaction: Transaction, group: string): Promise<StoredRun[]> {
  const holding = await storedRuns(transaction, `FROM ${HOLDING_RUNS} AND concurrency_group = ?`, group);
  return holding.filter(({ run }) => run.state === 'awaiting_approval');
}

async function insertRun(transaction: Transaction, request: RunRequest): Promise<StoredRun> {
  const now = await transaction.now();
  const needs = needsOf(request);
  // With its first event, run.queued, which changes nothing of it.
  const row = await transaction.get(
    `INSERT INTO runs (id, kind, state, message, concurrency_group, coalesce, dedupe_key, "trigger", input,
       attempt, chosen, created_at, next_seq, priority, labels, needs)
     VALUES (?, ?, 'queued', ?, ?, ?, ?, ?, ?, 0, 0, ?, 2, ?, ?, ?)
     RETURNING ${RUN_COLUMNS}`,
    timeOrderedId(now),
    request.kind,
    kindOf(request).queued,
    request.concurrencyGroup,
    request.coalesce ? 1 : 0,
    request.dedupeKey,
    JSON.stringify(request.trigger),
    JSON.stringify(request.input),
    now,
    request.priority ?? 0,
    JSON.stringify(request.labels ?? []),
    needs,
  );
  if (!row) throw new Error('The store gave no row back for a new run.');
  const stored = toStoredRun(row);
  const { run, number } = stored;
  await insertEvent(transaction, number, { seq: 1, at: now, event: { type: 'run.queued' } });
  await noteQueued(transaction, { number, run, needs });
  for (const reporter of kindOf(request).reporters) {
    await transaction.run('INSERT INTO unreported (reporter, run) VALUES (?, ?)', reporter, number);
  }
  return stored;
}
