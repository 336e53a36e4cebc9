/** Writes what the store knows about a branch: its baseline, its newest examined commit, its rules, pins and ledger. */

import { projectLedger } from '../../runs/projections/project-ledger.ts';
import type { Run } from '../../runs/run.ts';
import type { RunEventBody } from '../../runs/run-events.ts';
import type { LedgerEntry } from '../../runs/run-store.ts';
import type { Transaction } from './database.ts';
import { toLedgerEntry } from './rows.ts';

/** Writes what the event says about the branch. Most events say nothing about it. */
export async function saveBranchFacts(
  transaction: Transaction,
  run: Run,
  event: RunEventBody,
  at: number,
): Promise<void> {
  if (event.type === 'run.baseline') {
    await insertBaseline(transaction, event.scope, event.commit);
  } else if (event.type === 'run.examined') {
    await transaction.run(
      `INSERT INTO examined (scope, commit_id, run) VALUES (?, ?, ?)
       ON CONFLICT (scope) DO UPDATE SET commit_id = excluded.commit_id, run = excluded.run`,
      event.scope,
      event.commit,
      run.id,
    );
  } else if (event.type === 'run.rules') {
    await saveRules(transaction, event.scope, event.text);
  } else if (event.type === 'run.pinned') {
    for (const service of event.services) {
      await savePin(transaction, { scope: event.scope, service, commit: event.commit, runId: run.id });
    }
  } else if ('ledger' in event && event.ledger) {
    const { scope, service } = event.ledger;
    const row = await transaction.get('SELECT * FROM ledger WHERE scope = ? AND service = ?', scope, service);
    const entry = projectLedger(row && toLedgerEntry(row), event, { runId: run.id, at });
    if (entry) await saveLedger(transaction, scope, entry);
  }
}

/** The first baseline of a branch stays. */
export async function insertBaseline(transaction: Transaction, scope: string, commit: string): Promise<void> {
  await transaction.run(
    'INSERT INTO baselines (scope, commit_id) VALUES (?, ?) ON CONFLICT DO NOTHING',
    scope,
    commit,
  );
}

export async function saveLedger(transaction: Transaction, scope: string, entry: LedgerEntry): Promise<void> {
  await transaction.run(
    `INSERT INTO ledger (scope, service, folder, attempted_commit, attempted_run, outcome, synced, synced_run,
       attempts, attempted_inputs, attempted_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (scope, service) DO UPDATE SET folder = excluded.folder,
       attempted_commit = excluded.attempted_commit, attempted_run = excluded.attempted_run,
       outcome = excluded.outcome, synced = excluded.synced, synced_run = excluded.synced_run,
       attempts = excluded.attempts, attempted_inputs = excluded.attempted_inputs,
       attempted_at = excluded.attempted_at`,
    scope,
    entry.service,
    entry.folder,
    entry.attemptedCommit,
    entry.attemptedRunId,
    entry.outcome,
    entry.synced && JSON.stringify(entry.synced),
    entry.synced?.runId ?? null,
    entry.attempts,
    entry.attemptedInputs,
    entry.attemptedAt,
  );
}

export async function savePin(
  transaction: Transaction,
  { scope, service, commit, runId }: { scope: string; service: string; commit: string | null; runId: string },
): Promise<void> {
  await transaction.run('DELETE FROM pins WHERE scope = ? AND service = ?', scope, service);
  if (commit === null) return;
  await transaction.run(
    'INSERT INTO pins (scope, service, commit_id, run) VALUES (?, ?, ?, ?)',
    scope,
    service,
    commit,
    runId,
  );
}

async function saveRules(transaction: Transaction, scope: string, text: string | null): Promise<void> {
  await transaction.run('DELETE FROM rules WHERE scope = ?', scope);
  if (text !== null) await transaction.run('INSERT INTO rules (scope, text) VALUES (?, ?)', scope, text);
}
