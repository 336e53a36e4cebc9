/** Appends events to a run's log and writes everything that follows from them: run, steps, ledger. */

import { projectRun, projectStep } from '../../runs/projections/project-run.ts';
import type { Run, Step } from '../../runs/run.ts';
import { type RunEventBody, sequenceWidth } from '../../runs/run-events.ts';
import { noteChanged } from './claimable.ts';
import { asKeys, type Transaction } from './database.ts';
import { noteLogChunk } from './log-chunks.ts';
import { DURATION_BOUNDS_SECONDS, eventData, STEP_COLUMNS, type StoredRun, toStep } from './rows.ts';
import { saveBranchFacts } from './save-branch-facts.ts';

/**
 * If only the disk of one machine has the plan of an approved run, the other machines leave the run to it for this
 * time.
 */
const ONLY_HOME_MS = 600_000;

/** Returns the run after the events. The caller has checked the lease and holds the transaction. */
export async function appendEvents(
  transaction: Transaction,
  stored: StoredRun,
  events: readonly RunEventBody[],
): Promise<Run> {
  const at = await transaction.now();
  let { run, nextSeq } = stored;
  for (const event of events) {
    await insertEvent(transaction, stored.number, { seq: nextSeq, at, event });
    if (event.type === 'step.log') await noteLogChunk(transaction, stored.number, nextSeq, event);
    nextSeq += sequenceWidth(event);
    run = projectRun(run, event, at);
    await projectSteps(transaction, stored.number, event, at);
    await saveBranchFacts(transaction, run, event, at);
  }
  await saveRun(transaction, stored, run, nextSeq);
  await saveHome(transaction, stored, run, at);
  await noteChanged(transaction, stored.run, run);
  if (run.finishedAt !== null && stored.run.finishedAt === null) {
    await countEndings(transaction, [run]);
    await dropSealed(transaction, [run.id]);
  }
  return run;
}

/** Adds the same event, which takes one number, to the log of each run, by one statement. The caller updates the runs. */
export async function insertForEach(
  transaction: Transaction,
  runs: readonly StoredRun[],
  { at, event }: { at: number; event: RunEventBody },
): Promise<void> {
  const row = { at, type: event.type, data: eventData(event) };
  await transaction.insert(
    'events',
    runs.map(({ number, nextSeq }) => ({ run: number, seq: nextSeq, ...row })),
  );
}

async function insertEvent(
  transaction: Transaction,
  run: number,
  { seq, at, event }: { seq: number; at: number; event: RunEventBody },
): Promise<void> {
  await transaction.run(
    'INSERT INTO events (run, seq, at, type, data) VALUES (?, ?, ?, ?, ?)',
    run,
    seq,
    at,
    event.type,
    eventData(event),
  );
}

async function saveRun(
  transaction: Transaction,
  { number }: StoredRun,
  run: Run,
  nextSeq: number,
): Promise<void> {
  await transaction.run(
    `UPDATE runs SET state = ?, reason = ?, message = ?, revision = ?, subject = ?, attempt = ?, chosen = ?,
       cancel_requested_by = ?, covered_by = ?, started_at = ?, finished_at = ?, not_before = ?, next_seq = ?,
       priority = ?, approval_expires_at = ?, hand_backs = ?${run.state === 'running' ? '' : ', lease_token = NULL'}
     WHERE number = ?`,
    run.state,
    run.reason,
    run.message,
    run.revision,
    run.subject,
    run.attempt,
    run.chosen,
    run.cancelRequestedBy,
    run.coveredBy,
    run.startedAt,
    run.finishedAt,
    run.notBefore,
    nextSeq,
    run.priority,
    run.approvalExpiresAt,
    run.handBacks,
    number,
  );
}

/**
 * The machine that worked on a run until it waits for an approval is its home. The time of the home begins with the
 * approval.
 */
async function saveHome(transaction: Transaction, before: StoredRun, run: Run, at: number): Promise<void> {
  const was = before.run.state;
  if (was === 'running' && run.state === 'awaiting_approval') {
    await transaction.run(
      'UPDATE runs SET home = ?, home_ms = ? WHERE number = ?',
      machineOf(before.leaseOwner ?? ''),
      ONLY_HOME_MS,
      before.number,
    );
  } else if (was !== 'queued' && run.state === 'queued' && before.homeMs !== null) {
    const until = at + before.homeMs;
    await transaction.run('UPDATE runs SET home_until = ? WHERE number = ?', until, before.number);
  }
}

/** Returns the owner of a lease without its process id. */
export function machineOf(owner: string): string {
  return owner.replace(/:\d+$/, '');
}

export async function countEndings(transaction: Transaction, runs: readonly Run[]): Promise<void> {
  const rows = runs.map(({ kind, state, startedAt, createdAt, finishedAt }) => {
    const durationMs = Math.max(0, (finishedAt ?? createdAt) - (startedAt ?? createdAt));
    const upTo = DURATION_BOUNDS_SECONDS.find((seconds) => durationMs <= seconds * 1_000) ?? 0;
    return { kind, state, up_to_s: upTo, runs: 1, duration_ms: durationMs };
  });
  // One statement must not change a row twice.
  const groups = Map.groupBy(rows, ({ kind, state, up_to_s }) => `${kind} ${state} ${up_to_s}`);
  await transaction.insert(
    'run_endings',
    [...groups.values()].map((group) => group.reduce(sumOf)),
    `ON CONFLICT (kind, state, up_to_s) DO UPDATE SET
       runs = run_endings.runs + excluded.runs, duration_ms = run_endings.duration_ms + excluded.duration_ms`,
  );
}

function sumOf<T extends { runs: number; duration_ms: number }>(one: T, other: T): T {
  return {
    ...one,
    runs: one.runs + other.runs,
    duration_ms: one.duration_ms + other.duration_ms,
  };
}

/**
 * Deletes the kept plans and the sealed secrets of runs that have ended. The secrets stay until the comment that needs
 * their token is sent.
 */
export async function dropSealed(transaction: Transaction, ids: readonly string[]): Promise<void> {
  const keys = asKeys(ids);
  const those = 'run IN (SELECT number FROM runs WHERE id IN (SELECT key FROM json_each(?)))';
  await transaction.run(`DELETE FROM kept_plans WHERE ${those}`, keys);
  await transaction.run(
    `DELETE FROM sealed WHERE ${those}
       AND NOT EXISTS (SELECT 1 FROM unreported WHERE unreported.run = sealed.run AND reporter = 'plan-comment')`,
    keys,
  );
}

async function projectSteps(
  transaction: Transaction,
  run: number,
  event: RunEventBody,
  at: number,
): Promise<void> {
  if (!('step' in event) || event.type === 'step.log') return;
  const sql = `SELECT ${STEP_COLUMNS} FROM steps WHERE run = ? AND id = ?`;
  const row = await transaction.get(sql, run, event.step);
  const step = projectStep(row ? toStep(row) : undefined, event, at);
  if (step) await saveStep(transaction, run, step);
}

async function saveStep(transaction: Transaction, run: number, step: Step): Promise<void> {
  await transaction.run(
    `INSERT INTO steps (run, id, position, wave, state, message, exit_code, started_at, finished_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (run, id) DO UPDATE SET position = excluded.position, wave = excluded.wave,
       state = excluded.state, message = excluded.message, exit_code = excluded.exit_code,
       started_at = excluded.started_at, finished_at = excluded.finished_at`,
    run,
    step.id,
    step.position,
    step.wave,
    step.state,
    step.message,
    step.exitCode,
    step.startedAt,
    step.finishedAt,
  );
}
