/** Appends events to a run's log and writes what follows from them: run, steps, ledger. */

import { projectLedger } from '../../runs/project-ledger.ts';
import { isFinal, type Run, type Step } from '../../runs/run.ts';
import { projectRun, projectStep, type RunEventBody, sequenceWidth } from '../../runs/run-events.ts';
import type { LedgerEntry } from '../../runs/run-store.ts';
import { noteChanged } from './claimable.ts';
import type { Database } from './database.ts';
import { eventData, STEP_COLUMNS, type StoredRun, toLedgerEntry, toStep } from './rows.ts';

/** Returns the run after the events. The caller has checked the lease and holds the transaction. */
export function appendEvents(
  database: Database,
  stored: StoredRun,
  events: readonly RunEventBody[],
  at: number,
): Run {
  let { run, nextSeq } = stored;
  for (const event of events) {
    insertEvent(database, stored.number, nextSeq, event, at);
    nextSeq += sequenceWidth(event);
    run = projectRun(run, event, at);
    projectSteps(database, stored.number, event, at);
    saveFacts(database, run, event, at);
  }
  saveRun(database, run, stored.number, nextSeq);
  noteChanged(database, stored.run, run);
  return run;
}

/** Only the row: nothing is projected from the event. */
export function insertEvent(
  database: Database,
  number: number,
  seq: number,
  event: RunEventBody,
  at: number,
): void {
  database.run(
    'INSERT INTO events (run, seq, at, type, data) VALUES (?, ?, ?, ?, ?)',
    number,
    seq,
    at,
    event.type,
    eventData(event),
  );
}

function saveRun(database: Database, run: Run, number: number, nextSeq: number): void {
  database.run(
    `UPDATE runs SET state = ?, reason = ?, message = ?, revision = ?, subject = ?, attempt = ?, chosen = ?,
       cancel_requested_by = ?, covered_by = ?, started_at = ?, finished_at = ?, not_before = ?, next_seq = ?,
       priority = ?, approval_expires_at = ?, hand_backs = ?, lease_token = CASE WHEN ? = 'running' THEN lease_token END
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
    run.state,
    number,
  );
  if (isFinal(run.state)) dropSealed(database, run.id);
}

/** They go with the run's end; what is sealed maybe later, once the comment is told that its token is needed for. */
export function dropSealed(database: Database, runId: string): void {
  database.run(
    'DELETE FROM kept_plans WHERE run = (SELECT number FROM runs WHERE id = ? AND finished_at IS NOT NULL)',
    runId,
  );
  database.run(
    `DELETE FROM sealed WHERE run = (SELECT number FROM runs WHERE id = ? AND finished_at IS NOT NULL)
       AND NOT EXISTS (SELECT 1 FROM unreported WHERE unreported.run = sealed.run AND reporter = 'plan-comment')`,
    runId,
  );
}

function projectSteps(database: Database, number: number, event: RunEventBody, at: number): void {
  if (!('step' in event) || event.type === 'step.log') return;
  const row = database.get(`SELECT ${STEP_COLUMNS} FROM steps WHERE run = ? AND id = ?`, number, event.step);
  const step = projectStep(row ? toStep(row) : undefined, event, at);
  if (step) saveStep(database, number, step);
}

function saveStep(database: Database, number: number, step: Step): void {
  database.run(
    `INSERT INTO steps (run, id, position, wave, state, message, exit_code, started_at, finished_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (run, id) DO UPDATE SET position = excluded.position, wave = excluded.wave,
       state = excluded.state, message = excluded.message, exit_code = excluded.exit_code,
       started_at = excluded.started_at, finished_at = excluded.finished_at`,
    number,
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

function saveFacts(database: Database, run: Run, event: RunEventBody, at: number): void {
  if (event.type === 'run.baseline') {
    database.run(
      'INSERT INTO baselines (scope, commit_id) VALUES (?, ?) ON CONFLICT DO NOTHING',
      event.scope,
      event.commit,
    );
  } else if (event.type === 'run.examined') {
    database.run(
      `INSERT INTO examined (scope, commit_id, run) VALUES (?, ?, ?)
       ON CONFLICT (scope) DO UPDATE SET commit_id = excluded.commit_id, run = excluded.run`,
      event.scope,
      event.commit,
      run.id,
    );
  } else if (event.type === 'run.rules') {
    saveRules(database, event.scope, event.text);
  } else if (event.type === 'run.pinned') {
    for (const service of event.services) savePin(database, event.scope, service, event.commit, run.id);
  } else if ('ledger' in event && event.ledger) {
    const { scope, service } = event.ledger;
    const row = database.get('SELECT * FROM ledger WHERE scope = ? AND service = ?', scope, service);
    const entry = projectLedger(row && toLedgerEntry(row), event, { runId: run.id, at });
    if (entry) saveLedger(database, scope, entry);
  }
}

export function saveLedger(database: Database, scope: string, entry: LedgerEntry): void {
  database.run(
    `INSERT INTO ledger (scope, service, folder, attempted_commit, attempted_run, outcome, synced, attempts,
       attempted_inputs, attempted_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (scope, service) DO UPDATE SET folder = excluded.folder,
       attempted_commit = excluded.attempted_commit, attempted_run = excluded.attempted_run,
       outcome = excluded.outcome, synced = excluded.synced, attempts = excluded.attempts,
       attempted_inputs = excluded.attempted_inputs, attempted_at = excluded.attempted_at`,
    scope,
    entry.service,
    entry.folder,
    entry.attemptedCommit,
    entry.attemptedRunId,
    entry.outcome,
    entry.synced && JSON.stringify(entry.synced),
    entry.attempts,
    entry.attemptedInputs,
    entry.attemptedAt,
  );
}

export function savePin(
  database: Database,
  scope: string,
  service: string,
  commit: string | null,
  runId: string,
): void {
  database.run('DELETE FROM pins WHERE scope = ? AND service = ?', scope, service);
  if (commit === null) return;
  database.run(
    'INSERT INTO pins (scope, service, commit_id, run) VALUES (?, ?, ?, ?)',
    scope,
    service,
    commit,
    runId,
  );
}

function saveRules(database: Database, scope: string, text: string | null): void {
  database.run('DELETE FROM rules WHERE scope = ?', scope);
  if (text !== null) database.run('INSERT INTO rules (scope, text) VALUES (?, ?)', scope, text);
}
