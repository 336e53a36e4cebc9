/** Reads what the store knows about the services of a place. */

import type { OutsideHash } from '../../runs/config-hashes.ts';
import type { Run, Step } from '../../runs/run.ts';
import type { Ledger } from '../../runs/run-store.ts';
import type { Database } from './database.ts';
import { RUN_COLUMNS, STEP_COLUMNS, toLedgerEntry, toOutsideHash, toStep, toStoredRun } from './rows.ts';

export async function readScopes(database: Database): Promise<string[]> {
  const rows = await database.all(
    'SELECT scope FROM ledger UNION SELECT scope FROM baselines ORDER BY scope',
  );
  return rows.map(({ scope }) => String(scope));
}

export async function readLedger(database: Database, scope: string): Promise<Ledger> {
  const entries = (await database.all('SELECT * FROM ledger WHERE scope = ?', scope)).map(toLedgerEntry);
  const pins = await database.all('SELECT service, commit_id FROM pins WHERE scope = ?', scope);
  const rules = (await database.get('SELECT text FROM rules WHERE scope = ?', scope))?.text;
  const baseline = await database.get('SELECT commit_id FROM baselines WHERE scope = ?', scope);
  const examined = await database.get('SELECT commit_id, run FROM examined WHERE scope = ?', scope);
  return {
    entries: new Map(entries.map((entry) => [entry.service, entry])),
    baseline: baseline ? String(baseline.commit_id) : null,
    examined: examined ? { commit: String(examined.commit_id), runId: String(examined.run) } : null,
    rules: typeof rules === 'string' ? rules : null,
    pins: new Map(pins.map((row) => [String(row.service), String(row.commit_id)])),
  };
}

export async function readOutsideHashes(
  database: Database,
  scope: string,
): Promise<Map<string, OutsideHash>> {
  const rows = await database.all('SELECT * FROM outside_hashes WHERE scope = ?', scope);
  return new Map(rows.map((row) => [String(row.service), toOutsideHash(row)]));
}

/** The runs of a place that had a step for the service, with that step, the newest first. */
export async function readServiceHistory(
  database: Database,
  scope: string,
  service: string,
  limit: number,
): Promise<{ run: Run; step: Step }[]> {
  const numbers = `SELECT number FROM runs JOIN steps ON steps.run = runs.number AND steps.id = ?
    WHERE concurrency_group = ? ORDER BY number DESC LIMIT ?`;
  const values = [service, scope, limit] as const;
  const runs = await database.all(
    `SELECT ${RUN_COLUMNS} FROM runs WHERE number IN (${numbers}) ORDER BY number DESC`,
    ...values,
  );
  const steps = await database.all(
    `SELECT run, ${STEP_COLUMNS} FROM steps WHERE id = ? AND run IN (${numbers})`,
    service,
    ...values,
  );
  const stepOf = new Map(steps.map((row) => [Number(row.run), toStep(row)]));
  return runs.flatMap((row) => {
    const { run, number } = toStoredRun(row);
    const step = stepOf.get(number);
    return step ? [{ run, step }] : [];
  });
}
