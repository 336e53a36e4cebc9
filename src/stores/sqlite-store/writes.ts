/** Every write of the store, run inside a transaction by the writer thread. */

import { randomBytes } from 'node:crypto';
import { QueueFullError, StaleLeaseError } from '../../errors.ts';
import type { OutsideHash } from '../../runs/config-hashes.ts';
import type { NewDelivery } from '../../runs/delivery.ts';
import { isFinal, RUN_KINDS, type Run, type RunKind, type RunRequest } from '../../runs/run.ts';
import {
  answersAgain,
  cancelRequested,
  decisionEvents,
  QUEUED_MESSAGES,
  supersededBy,
  takenBack,
} from '../../runs/run-decisions.ts';
import type { ApprovalDecision, RunEventBody } from '../../runs/run-events.ts';
import { type Claim, type Lease, REPORTERS_OF, type Report } from '../../runs/run-store.ts';
import { timeOrderedId } from '../time-ordered-id.ts';
import { appendEvents, dropSealed, insertEvent } from './append-events.ts';
import type { Database } from './database.ts';
import { type PruneOptions, prune } from './prune.ts';
import { HOLDING_RUNS, QUEUED_RUNS, RUN_COLUMNS, type StoredRun, toStoredRun } from './rows.ts';

/** What a write gives back: its result and the runs it changed, whose watchers are told after the commit. */
export interface Written<T> {
  result: T;
  changed: string[];
}

const KEPT_NONCES = 1_000;

export const WRITES = {
  enqueue,
  recordDelivery,
  recordMissed,
  claim,
  renew,
  append,
  takeBack,
  requestCancel,
  decide,
  saveBaseline,
  saveOutsideHashes,
  saveReport,
  settleRun,
  spendNonce,
  key,
  prune: (database: Database, options: PruneOptions): Written<boolean> => ({
    result: prune(database, options),
    changed: [],
  }),
  check,
} as const;

function enqueue(
  database: Database,
  request: RunRequest,
  { delivery, sealed }: { delivery?: NewDelivery | undefined; sealed?: string | undefined } = {},
  queueLimit = Number.POSITIVE_INFINITY,
): Written<{ run: Run; created: boolean }> {
  const written = findOrInsert(database, request, queueLimit);
  const { run, created } = written.result;
  if (created && sealed !== undefined) saveSealed(database, run.id, sealed);
  if (delivery) {
    const decision = created ? delivery.decision : 'duplicate';
    recordDelivery(database, { ...delivery, decision, runId: run.id, request });
  }
  return written;
}

function saveSealed(database: Database, runId: string, sealed: string): void {
  database.run(
    `INSERT INTO sealed (run, text) VALUES ((SELECT number FROM runs WHERE id = ?), ?)
     ON CONFLICT (run) DO UPDATE SET text = excluded.text`,
    runId,
    sealed,
  );
}

function recordDelivery(database: Database, delivery: NewDelivery): Written<null> {
  const { deliveryId, event, decision, detail, runId, request } = delivery;
  database.run(
    `INSERT INTO deliveries (delivery_id, event, received_at, decision, detail, run, request)
     VALUES (?, ?, ?, ?, ?, ?, ?)`,
    deliveryId,
    event,
    Date.now(),
    decision,
    detail,
    runId,
    request && JSON.stringify(request),
  );
  if (decision === 'refused') dropOldRefusals(database);
  return { result: null, changed: [] };
}

function recordMissed(database: Database, missed: readonly NewDelivery[]): Written<number> {
  const unknown = missed.filter(
    ({ deliveryId }) =>
      deliveryId !== null &&
      !database.get('SELECT 1 FROM deliveries WHERE delivery_id = ? LIMIT 1', deliveryId),
  );
  for (const delivery of unknown) recordDelivery(database, delivery);
  return { result: unknown.length, changed: [] };
}

/** Anybody can cause refusals, so only the latest are kept. */
function dropOldRefusals(database: Database): void {
  database.run(
    `DELETE FROM deliveries WHERE decision = 'refused' AND number <= (
       SELECT number FROM deliveries WHERE decision = 'refused' ORDER BY number DESC LIMIT 1 OFFSET 1000)`,
  );
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
  for (const reporter of REPORTERS_OF[request.kind]) {
    database.run('INSERT INTO unreported (reporter, run) VALUES (?, ?)', reporter, number);
  }
  return run;
}

function find(database: Database, id: string): StoredRun | null {
  const row = database.get(`SELECT ${RUN_COLUMNS} FROM runs WHERE id = ?`, id);
  return row ? toStoredRun(row) : null;
}

function claim(
  database: Database,
  options: {
    owner: string;
    leaseMs: number;
    kinds?: readonly RunKind[];
    labels?: readonly string[] | undefined;
  },
): Written<Claim | null> {
  const { owner, leaseMs, kinds = RUN_KINDS, labels = null } = options;
  const next = nextQueued(database, kinds, labels);
  if (!next) return { result: null, changed: [] };
  const covered = next.run.coalesce ? queuedCoalescing(database, next.run.concurrencyGroup) : [];
  const chosen = covered.pop() ?? next;
  for (const stored of covered) supersede(database, stored, chosen.run.id);
  const token = Number(
    database.get(
      `INSERT INTO counters (name, value) VALUES ('fencing_token', 1)
       ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value`,
    )?.value,
  );
  database.run(
    'UPDATE runs SET lease_owner = ?, lease_token = ?, lease_expires_at = ? WHERE number = ?',
    owner,
    token,
    Date.now() + leaseMs,
    chosen.number,
  );
  const started: RunEventBody = { type: 'run.started', owner, attempt: chosen.run.attempt + 1 };
  const run = appendEvents(database, chosen, [started], Date.now());
  return {
    result: { run, lease: { runId: run.id, owner, token }, covers: coveredBy(database, run.id) },
    changed: [run.id, ...covered.map((other) => other.run.id)],
  };
}

function supersede(database: Database, stored: StoredRun, coveredBy: string): void {
  appendEvents(database, stored, [supersededBy(stored.run, coveredBy)], Date.now());
}

/** Also those covered by an earlier attempt, or before the run was put off. */
function coveredBy(database: Database, id: string): Run[] {
  return database
    .all(
      `SELECT ${RUN_COLUMNS} FROM runs WHERE covered_by = ? AND reason = 'covered_by_newer' ORDER BY number`,
      id,
    )
    .map((row) => toStoredRun(row).run);
}

/**
 * The queued run of a free group that comes first, by priority and then by age; hops from group to group so that a
 * long queue costs nothing.
 */
function nextQueued(
  database: Database,
  kinds: readonly RunKind[],
  labels: readonly string[] | null,
): StoredRun | null {
  const row = database.get(
    `WITH RECURSIVE groups (name) AS (
      SELECT min(concurrency_group) FROM ${QUEUED_RUNS}
      UNION ALL
      SELECT (SELECT min(concurrency_group) FROM ${QUEUED_RUNS}
              AND concurrency_group > groups.name)
      FROM groups WHERE groups.name IS NOT NULL
    ),
    firsts (first) AS (
      SELECT (SELECT number FROM ${QUEUED_RUNS}
          AND concurrency_group = groups.name AND not_before <= ?
          AND kind IN (SELECT value FROM json_each(?))
          AND (? IS NULL OR NOT EXISTS (
            SELECT 1 FROM json_each(runs.labels) WHERE value NOT IN (SELECT value FROM json_each(?))))
        ORDER BY priority DESC, number LIMIT 1)
      FROM groups
      WHERE groups.name IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM ${HOLDING_RUNS} AND concurrency_group = groups.name)
    )
    SELECT ${RUN_COLUMNS} FROM runs WHERE number = (
      SELECT first FROM firsts JOIN runs ON number = first ORDER BY priority DESC, first LIMIT 1)`,
    Date.now(),
    JSON.stringify(kinds),
    labels && JSON.stringify(labels),
    labels && JSON.stringify(labels),
  );
  return row ? toStoredRun(row) : null;
}

/** Up to the first that does not coalesce: what was asked for between two pushes keeps its place. */
function queuedCoalescing(database: Database, group: string): StoredRun[] {
  return database
    .all(
      `SELECT ${RUN_COLUMNS} FROM ${QUEUED_RUNS}
          AND concurrency_group = ? AND coalesce = 1 AND number < coalesce(
          (SELECT min(number) FROM ${QUEUED_RUNS} AND concurrency_group = ? AND coalesce = 0),
          9223372036854775807)
        ORDER BY number`,
      group,
      group,
    )
    .map(toStoredRun);
}

function renew(database: Database, lease: Lease, leaseMs: number): Written<null> {
  const changed = database.run(
    `UPDATE runs SET lease_expires_at = ?
      WHERE id = ? AND lease_token = ? AND state = 'running'`,
    Date.now() + leaseMs,
    lease.runId,
    lease.token,
  );
  if (changed === 0) throw new StaleLeaseError(lease.runId);
  return { result: null, changed: [] };
}

function append(
  database: Database,
  lease: Lease,
  events: RunEventBody[],
  followUp?: RunRequest,
  sealed?: string,
): Written<null> {
  const row = database.get(
    `SELECT ${RUN_COLUMNS} FROM runs
      WHERE id = ? AND lease_token = ? AND state = 'running'`,
    lease.runId,
    lease.token,
  );
  if (!row) throw new StaleLeaseError(lease.runId);
  const changed = [lease.runId];
  let toAppend = events;
  if (followUp) {
    const { run } = enqueue(database, followUp).result;
    changed.push(run.id);
    toAppend = events.map((event) =>
      event.type === 'run.finished' ? { ...event, coveredBy: run.id } : event,
    );
  }
  if (sealed !== undefined) saveSealed(database, lease.runId, sealed);
  appendEvents(database, toStoredRun(row), toAppend, Date.now());
  return { result: null, changed };
}

function takeBack(
  database: Database,
  { all, owner = '', maxAttempts }: { all: boolean; owner?: string | undefined; maxAttempts: number },
): Written<string[]> {
  const orphans = database
    .all(
      `SELECT ${RUN_COLUMNS} FROM runs
        WHERE state = 'running' AND (? = 1 OR lease_expires_at < ? OR lease_owner = ?
          OR substr(lease_owner, 1, length(?) + 1) = ? || ':')
        ORDER BY number`,
      all ? 1 : 0,
      Date.now(),
      owner,
      owner,
      owner,
    )
    .map(toStoredRun);
  for (const orphan of orphans) {
    const events = takenBack(orphan.run, openSteps(database, orphan), maxAttempts);
    appendEvents(database, orphan, events, Date.now());
  }
  const ids = orphans.map((orphan) => orphan.run.id);
  return { result: ids, changed: ids };
}

/** The steps that a run which waits, or is nobody's any more, has still open. */
function openSteps(database: Database, { number }: StoredRun): string[] {
  return database
    .all("SELECT id FROM steps WHERE run = ? AND state IN ('pending', 'running')", number)
    .map((row) => String(row.id));
}

function requestCancel(database: Database, runId: string, by: string): Written<Run | null> {
  const stored = find(database, runId);
  if (!stored) return { result: null, changed: [] };
  if (isFinal(stored.run.state)) return { result: stored.run, changed: [] };
  const events = cancelRequested(stored.run, openSteps(database, stored), by);
  const run = appendEvents(database, stored, events, Date.now());
  return { result: run, changed: [runId] };
}

function decide(
  database: Database,
  runId: string,
  decision: ApprovalDecision,
  by: string,
): Written<{ run: Run; decided: boolean } | null> {
  const stored = find(database, runId);
  if (!stored) return { result: null, changed: [] };
  const awaited = latestAwaited(database, stored);
  if (stored.run.state !== 'awaiting_approval' || awaited === null) {
    return { result: { run: stored.run, decided: false }, changed: [] };
  }
  const events = decisionEvents(awaited, openSteps(database, stored), { decision, by });
  const run = appendEvents(database, stored, events, Date.now());
  return { result: { run, decided: true }, changed: [runId] };
}

/** What the approval is bound to: the decision keeps it, so that what is done later can be held against it. */
function latestAwaited(database: Database, { number }: StoredRun): string | null {
  const row = database.get(
    `SELECT data ->> 'subject' AS subject FROM events
      WHERE run = ? AND type = 'run.awaiting_approval' AND type <> 'step.log' ORDER BY seq DESC LIMIT 1`,
    number,
  );
  return row ? String(row.subject) : null;
}

function saveBaseline(database: Database, scope: string, commit: string): Written<null> {
  database.run(
    'INSERT INTO baselines (scope, commit_id) VALUES (?, ?) ON CONFLICT DO NOTHING',
    scope,
    commit,
  );
  return { result: null, changed: [] };
}

function saveOutsideHashes(database: Database, scope: string, hashes: OutsideHash[]): Written<null> {
  for (const hash of hashes) {
    database.run(
      `INSERT INTO outside_hashes (scope, service, written, found, drifted, owed, since, problem, heals, healed_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (scope, service) DO UPDATE SET written = excluded.written, found = excluded.found,
         drifted = excluded.drifted, owed = excluded.owed, since = excluded.since, problem = excluded.problem,
         heals = excluded.heals, healed_at = excluded.healed_at`,
      scope,
      hash.service,
      hash.written,
      hash.found,
      hash.drifted ? 1 : 0,
      hash.owed ? 1 : 0,
      hash.since,
      hash.problem,
      hash.heals,
      hash.healedAt,
    );
  }
  return { result: null, changed: [] };
}

function saveReport(database: Database, report: Report): Written<null> {
  database.run(
    `INSERT INTO reports (reporter, run, target, told, settled, failures, not_before, problem)
     SELECT ?, number, ?, ?, ?, ?, ?, ? FROM runs WHERE id = ?
     ON CONFLICT (reporter, run, target) DO UPDATE SET told = excluded.told, settled = excluded.settled,
       failures = excluded.failures, not_before = excluded.not_before, problem = excluded.problem`,
    report.reporter,
    report.target,
    report.told,
    report.settled ? 1 : 0,
    report.failures,
    report.notBefore,
    report.problem,
    report.runId,
  );
  return { result: null, changed: [] };
}

function settleRun(database: Database, reporter: string, runId: string): Written<null> {
  database.run(
    'DELETE FROM unreported WHERE reporter = ? AND run = (SELECT number FROM runs WHERE id = ?)',
    reporter,
    runId,
  );
  dropSealed(database, runId);
  return { result: null, changed: [] };
}

function spendNonce(database: Database, nonce: string, expiresAt: number): Written<boolean> {
  // The latest are kept longer, so that a clock that was wrong for a while does not forget what was spent before.
  database.run(
    `DELETE FROM nonces WHERE expires_at < ? AND expires_at < (
       SELECT expires_at FROM nonces ORDER BY expires_at DESC LIMIT 1 OFFSET ${KEPT_NONCES})`,
    Date.now(),
  );
  const added = database.run(
    'INSERT INTO nonces (nonce, expires_at) VALUES (?, ?) ON CONFLICT DO NOTHING',
    nonce,
    expiresAt,
  );
  return { result: added === 1, changed: [] };
}

function key(database: Database, name: string): Written<Uint8Array> {
  database.run('INSERT INTO keys (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING', name, randomBytes(32));
  const value = database.get('SELECT value FROM keys WHERE name = ?', name)?.value;
  if (!(value instanceof Uint8Array)) throw new Error(`The key ${name} is unreadable.`);
  return { result: value, changed: [] };
}

/** A real write, so that a full or read-only disk is noticed. */
function check(database: Database): Written<null> {
  database.run(
    `INSERT INTO counters (name, value) VALUES ('checks', 1)
     ON CONFLICT (name) DO UPDATE SET value = value + 1`,
  );
  return { result: null, changed: [] };
}
