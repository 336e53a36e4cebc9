/** Writes the data that is kept beside runs: baselines, config hashes, reports, nonces and keys. */

import { randomBytes } from 'node:crypto';
import type { OutsideHash } from '../../../runs/config-hashes.ts';
import type { Report } from '../../../runs/report.ts';
import type { Nonce } from '../../../runs/run-store.ts';
import { dropSealed } from '../append-events.ts';
import { asKeys, type Transaction, type Written } from '../database.ts';
import { insertBaseline } from '../save-branch-facts.ts';
import { findRun } from './stored-runs.ts';

const KEPT_NONCES = 1_000;

export async function saveBaseline(
  transaction: Transaction,
  scope: string,
  commit: string,
): Promise<Written<null>> {
  await insertBaseline(transaction, scope, commit);
  return { result: null, changed: [] };
}

export async function saveOutsideHashes(
  transaction: Transaction,
  scope: string,
  hashes: OutsideHash[],
): Promise<Written<null>> {
  for (const hash of hashes) {
    await transaction.run(
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

export async function saveReport(transaction: Transaction, report: Report): Promise<Written<null>> {
  const stored = await findRun(transaction, report.runId);
  // A run that was deleted needs no report.
  if (!stored) return { result: null, changed: [] };
  await transaction.run(
    `INSERT INTO reports (reporter, run, target, told, settled, failures, not_before, problem)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (reporter, run, target) DO UPDATE SET told = excluded.told, settled = excluded.settled,
       failures = excluded.failures, not_before = excluded.not_before, problem = excluded.problem`,
    report.reporter,
    stored.number,
    report.target,
    report.sent,
    report.settled ? 1 : 0,
    report.failures,
    report.notBefore,
    report.problem,
  );
  return { result: null, changed: [] };
}

export async function settleRun(
  transaction: Transaction,
  reporter: string,
  runId: string,
): Promise<Written<null>> {
  const stored = await findRun(transaction, runId);
  if (!stored) return { result: null, changed: [] };
  const { run, number } = stored;
  await transaction.run('DELETE FROM unreported WHERE reporter = ? AND run = ?', reporter, number);
  if (run.finishedAt !== null) await dropSealed(transaction, [run.id]);
  return { result: null, changed: [] };
}

/** Forgets expired nonces, and returns those of `nonces` that were spent. */
export async function spentNonces(transaction: Transaction, nonces: readonly string[]): Promise<Set<string>> {
  // The latest nonces are kept longer, so that a clock that was wrong for a while does not forget spent ones.
  await transaction.run(
    `DELETE FROM nonces WHERE expires_at < ? AND expires_at < (
       SELECT expires_at FROM nonces ORDER BY expires_at DESC LIMIT 1 OFFSET ?)`,
    await transaction.now(),
    KEPT_NONCES,
  );
  const rows = await transaction.all(
    'SELECT nonce FROM nonces WHERE nonce IN (SELECT key FROM json_each(?))',
    asKeys(nonces),
  );
  return new Set(rows.map(({ nonce }) => String(nonce)));
}

export async function insertNonces(transaction: Transaction, nonces: readonly Nonce[]): Promise<void> {
  await transaction.insert(
    'nonces',
    nonces.map(({ value, expiresAt }) => ({ nonce: value, expires_at: expiresAt })),
  );
}

export async function key(transaction: Transaction, name: string): Promise<Written<Uint8Array>> {
  await transaction.run(
    'INSERT INTO keys (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING',
    name,
    randomBytes(32),
  );
  const value = (await transaction.get('SELECT value FROM keys WHERE name = ?', name))?.value;
  if (!(value instanceof Uint8Array)) throw new Error(`The key ${name} is unreadable.`);
  return { result: value, changed: [] };
}

/** This is a real write, so that a full or read-only disk is noticed. */
export async function check(transaction: Transaction): Promise<Written<null>> {
  await transaction.run(
    `INSERT INTO counters (name, value) VALUES ('checks', 1)
     ON CONFLICT (name) DO UPDATE SET value = counters.value + 1`,
  );
  return { result: null, changed: [] };
}
