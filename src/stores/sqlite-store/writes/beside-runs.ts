/** What is kept beside runs: baselines, hashes elsewhere, reports, nonces, keys. */

import { randomBytes } from 'node:crypto';
import type { OutsideHash } from '../../../runs/config-hashes.ts';
import type { Report } from '../../../runs/run-store.ts';
import { dropSealed } from '../append-events.ts';
import type { Database } from '../database.ts';
import type { Written } from './written.ts';

const KEPT_NONCES = 1_000;

export function saveBaseline(database: Database, scope: string, commit: string): Written<null> {
  database.run(
    'INSERT INTO baselines (scope, commit_id) VALUES (?, ?) ON CONFLICT DO NOTHING',
    scope,
    commit,
  );
  return { result: null, changed: [] };
}

export function saveOutsideHashes(database: Database, scope: string, hashes: OutsideHash[]): Written<null> {
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

export function saveReport(database: Database, report: Report): Written<null> {
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

export function settleRun(database: Database, reporter: string, runId: string): Written<null> {
  database.run(
    'DELETE FROM unreported WHERE reporter = ? AND run = (SELECT number FROM runs WHERE id = ?)',
    reporter,
    runId,
  );
  dropSealed(database, runId);
  return { result: null, changed: [] };
}

export function spendNonce(database: Database, nonce: string, expiresAt: number): Written<boolean> {
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

export function key(database: Database, name: string): Written<Uint8Array> {
  database.run('INSERT INTO keys (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING', name, randomBytes(32));
  const value = database.get('SELECT value FROM keys WHERE name = ?', name)?.value;
  if (!(value instanceof Uint8Array)) throw new Error(`The key ${name} is unreadable.`);
  return { result: value, changed: [] };
}

/** A real write, so that a full or read-only disk is noticed. */
export function check(database: Database): Written<null> {
  database.run(
    `INSERT INTO counters (name, value) VALUES ('checks', 1)
     ON CONFLICT (name) DO UPDATE SET value = value + 1`,
  );
  return { result: null, changed: [] };
}
