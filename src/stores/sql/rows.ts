/**
 * Converts between table rows and the domain's types. Only this program writes the JSON columns, so they are trusted.
 */

import type { OutsideHash } from '../../runs/config-hashes.ts';
import type { Delivery } from '../../runs/delivery.ts';
import type { AuditEntry, Session } from '../../runs/people.ts';
import type { Report } from '../../runs/report.ts';
import type { Run, Step } from '../../runs/run.ts';
import type { RunEvent, RunEventBody } from '../../runs/run-events.ts';
import type { LedgerEntry } from '../../runs/run-store.ts';
import type { RunTally } from '../../runs/run-tally.ts';
import type { Row, Value } from './database.ts';

/** A run that ended is counted under the first of these durations that it did not exceed. */
export const DURATION_BOUNDS_SECONDS = [5, 15, 30, 60, 120, 300, 600, 1800, 3600, 10800, 43200, 86400];

export interface StoredRun {
  run: Run;
  number: number;
  nextSeq: number;
  leaseOwner: string | null;
  /** The time for which the other machines leave the run to its home once it is approved; null if it has no home. */
  homeMs: number | null;
}

export const RUN_COLUMNS = `number, id, kind, state, reason, message, concurrency_group, coalesce, dedupe_key, "trigger",
  input, revision, subject, attempt, chosen, cancel_requested_by, covered_by, created_at, started_at,
  finished_at, not_before, next_seq, priority, labels, approval_expires_at, hand_backs, lease_owner, home_ms`;

/**
 * Tables and conditions for the runs that wait, that hold their group, that await an approval before their first start
 * and hold nothing, or that have a home. Each group has at most one run that holds it. A further condition begins with
 * AND. The indexes are named because SQLite would otherwise choose
 * another index and read the whole queue, or all runs that a group ever had.
 */
export const QUEUED_RUNS = "runs INDEXED BY runs_queued WHERE state = 'queued'";
export const HOLDING_RUNS =
  "runs INDEXED BY runs_held WHERE state IN ('running', 'awaiting_approval') AND attempt > 0";
export const UNAPPROVED_RUNS =
  "runs INDEXED BY runs_unapproved WHERE state = 'awaiting_approval' AND attempt = 0";
export const RUNS_WITH_HOME = "runs INDEXED BY runs_with_home WHERE state = 'queued' AND home IS NOT NULL";

export function toStoredRun(row: Row): StoredRun {
  const run = {
    id: row.id,
    kind: row.kind,
    state: row.state,
    reason: row.reason,
    message: row.message,
    concurrencyGroup: row.concurrency_group,
    coalesce: row.coalesce === 1,
    dedupeKey: row.dedupe_key,
    trigger: JSON.parse(String(row.trigger)),
    input: JSON.parse(String(row.input)),
    revision: row.revision,
    subject: row.subject,
    attempt: row.attempt,
    handBacks: row.hand_backs,
    chosen: row.chosen,
    cancelRequestedBy: row.cancel_requested_by,
    coveredBy: row.covered_by,
    createdAt: row.created_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    notBefore: row.not_before,
    priority: row.priority,
    labels: JSON.parse(String(row.labels)),
    approvalExpiresAt: row.approval_expires_at,
  } as Run;
  return {
    run,
    number: Number(row.number),
    nextSeq: Number(row.next_seq),
    leaseOwner: row.lease_owner === null ? null : String(row.lease_owner),
    homeMs: row.home_ms === null ? null : Number(row.home_ms),
  };
}

/** The row of a new run. `events` is the number of its first events. */
export function toNewRow(run: Run, needs: string, events: number): Record<string, Value> {
  return {
    id: run.id,
    kind: run.kind,
    state: run.state,
    message: run.message,
    subject: run.subject,
    needs,
    concurrency_group: run.concurrencyGroup,
    coalesce: run.coalesce ? 1 : 0,
    dedupe_key: run.dedupeKey,
    trigger: JSON.stringify(run.trigger),
    input: JSON.stringify(run.input),
    created_at: run.createdAt,
    priority: run.priority,
    labels: JSON.stringify(run.labels),
    attempt: 0,
    chosen: 0,
    approval_expires_at: run.approvalExpiresAt,
    next_seq: events + 1,
  };
}

export const STEP_COLUMNS = 'id, position, wave, state, message, exit_code, started_at, finished_at';

export function toStep(row: Row): Step {
  return {
    id: row.id,
    position: row.position,
    wave: row.wave,
    state: row.state,
    message: row.message,
    exitCode: row.exit_code,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
  } as Step;
}

/** Returns the fields of an event as they are stored, without its type and position, which have their own columns. */
export function eventData(event: RunEventBody): string {
  const { type: _type, ...data } = event;
  return JSON.stringify(data);
}

export function toEvent(runId: string, row: Row): RunEvent {
  return {
    ...JSON.parse(String(row.data)),
    type: row.type,
    runId,
    seq: Number(row.seq),
    at: Number(row.at),
  };
}

export function toLedgerEntry(row: Row): LedgerEntry {
  const synced = row.synced;
  return {
    service: row.service,
    folder: row.folder,
    synced: typeof synced === 'string' ? JSON.parse(synced) : null,
    attemptedCommit: row.attempted_commit,
    attemptedRunId: row.attempted_run,
    outcome: row.outcome,
    attempts: row.attempts,
    attemptedInputs: row.attempted_inputs,
    attemptedAt: row.attempted_at,
  } as LedgerEntry;
}

export function toOutsideHash(row: Row): OutsideHash {
  return {
    service: row.service,
    written: row.written,
    found: row.found,
    drifted: row.drifted === 1,
    owed: row.owed === 1,
    since: row.since,
    problem: row.problem,
    heals: row.heals,
    healedAt: row.healed_at,
  } as OutsideHash;
}

export function toReport(runId: string, row: Row): Report {
  return {
    reporter: row.reporter,
    runId,
    target: row.target,
    sent: row.told,
    settled: row.settled === 1,
    failures: row.failures,
    notBefore: row.not_before,
    problem: row.problem,
  } as Report;
}

export function toDelivery(row: Row): Delivery {
  return {
    number: Number(row.number),
    deliveryId: row.delivery_id,
    event: row.event,
    receivedAt: row.received_at,
    decision: row.decision,
    detail: row.detail,
    runId: row.run,
    request: typeof row.request === 'string' ? JSON.parse(row.request) : null,
  } as Delivery;
}

export function toTally({ open, ended }: Record<'open' | 'ended', Row[]>): RunTally {
  return {
    open: open.map(({ kind, state, runs }) => ({ kind, state, runs })),
    ended: ended.map(({ kind, state, up_to_s, runs, duration_ms }) => ({
      kind,
      state,
      upToSeconds: up_to_s === 0 ? null : up_to_s,
      runs,
      durationMs: duration_ms,
    })),
    boundsSeconds: DURATION_BOUNDS_SECONDS,
  } as RunTally;
}

export function toAuditEntry(row: Row): AuditEntry {
  const { id, at, actor, role, action, target, address, result } = row;
  return { id, at: Number(at), actor, role, action, target, address, result } as AuditEntry;
}

export function toSession(row: Row): Session {
  const { id, name, role, method, bound, address, agent, created_at, ends_at } = row;
  const texts = { id, name, role, method, bound, address, agent };
  return { ...texts, createdAt: Number(created_at), endsAt: Number(ends_at) } as Session;
}
