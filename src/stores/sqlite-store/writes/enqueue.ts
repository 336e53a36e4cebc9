/** A new run, or the earlier one that answers the request. */

import { NonceSpentError, QueueFullError } from '../../../errors.ts';
import type { Run, RunRequest } from '../../../runs/run.ts';
import { answersAgain, QUEUED_MESSAGES } from '../../../runs/run-decisions.ts';
import { REPORTERS_OF, type RunStore } from '../../../runs/run-store.ts';
import { timeOrderedId } from '../../time-ordered-id.ts';
import { insertEvent } from '../append-events.ts';
import { noteQueued } from '../claimable.ts';
import type { Database } from '../database.ts';
import { HOLDING_RUNS, RUN_COLUMNS, type StoredRun, toStoredRun } from '../rows.ts';
import { spendNonce } from './beside-runs.ts';
import { recordDelivery } from './deliveries.ts';
import { saveBeside, supersede } from './stored-runs.ts';
import type { Written } from './written.ts';

export function enqueue(
  database: Database,
  request: RunRequest,
  { delivery, sealed, nonce }: NonNullable<Parameters<RunStore['enqueue']>[1]> = {},
  queueLimit = Number.POSITIVE_INFINITY,
): Written<{ run: Run; created: boolean }> {
  if (nonce && !spendNonce(database, nonce.value, nonce.expiresAt).result) {
    throw new NonceSpentError('The nonce of the request was spent before.');
  }
  const written = findOrInsert(database, request, queueLimit);
  const { run, created } = written.result;
  if (created && sealed !== undefined) saveBeside(database, 'sealed', run.id, sealed);
  if (delivery) {
    const decision = created ? delivery.decision : 'duplicate';
    recordDelivery(database, { ...delivery, decision, runId: run.id, request });
  }
  return written;
}

function findOrInsert(
  database: Database,
  request: RunRequest,
  queueLimit: number,
): Written<{ run: Run; created: boolean }> {
  if (request.dedupeKey !== null) {
    const earlier = database.get(
      `SELECT ${RUN_COLUMNS} FROM runs WHERE dedupe_key = ? ORDER BY number DESC LIMIT 1`,
      request.dedupeKey,
    );
    const run = earlier ? toStoredRun(earlier).run : null;
    if (run && answersAgain(run, request)) return { result: { run, created: false }, changed: [] };
  }
  const queued = Number(database.get("SELECT value FROM counters WHERE name = 'queued_runs'")?.value);
  if (queued >= queueLimit) throw new QueueFullError(`The queue is full: ${queued} runs are waiting.`);
  const run = insertRun(database, request);
  const outdated = request.coalesce ? awaitingApproval(database, request.concurrencyGroup) : [];
  for (const stored of outdated) supersede(database, stored, run.id);
  return { result: { run, created: true }, changed: [run.id, ...outdated.map((other) => other.run.id)] };
}

/** What waits for somebody's approval would hold its group, although nobody needs it any more. */
function awaitingApproval(database: Database, group: string): StoredRun[] {
  return database
    .all(`SELECT ${RUN_COLUMNS} FROM ${HOLDING_RUNS} AND concurrency_group = ?`, group)
    .map(toStoredRun)
    .filter(({ run }) => run.state === 'awaiting_approval');
}

function insertRun(database: Database, request: RunRequest): Run {
  const now = Date.now();
  // With its first event, run.queued, which changes nothing of it.
  const row = database.get(
    `INSERT INTO runs (id, kind, state, message, concurrency_group, coalesce, dedupe_key, "trigger", input,
       attempt, chosen, created_at, next_seq, priority, labels)
     VALUES (?, ?, 'queued', ?, ?, ?, ?, ?, ?, 0, 0, ?, 2, ?, ?)
     RETURNING ${RUN_COLUMNS}`,
    timeOrderedId(now),
    request.kind,
    QUEUED_MESSAGES[request.kind],
    request.concurrencyGroup,
    request.coalesce ? 1 : 0,
    request.dedupeKey,
    JSON.stringify(request.trigger),
    JSON.stringify(request.input),
    now,
    request.priority ?? 0,
    JSON.stringify(request.labels ?? []),
  );
  if (!row) throw new Error('The store gave no row back for a new run.');
  const { run, number } = toStoredRun(row);
  insertEvent(database, number, 1, { type: 'run.queued' }, now);
  noteQueued(database, { number, run });
  for (const reporter of REPORTERS_OF[request.kind]) {
    database.run('INSERT INTO unreported (reporter, run) VALUES (?, ?)', reporter, number);
  }
  return run;
}
