/** Stores the signs of life and the duties of processes on several machines that share the store. */

import type { WorkerSign } from '../../runs/fleet.ts';
import type { Database, Transaction, Written } from './database.ts';

/** A process that was silent for longer is forgotten. */
const FORGOTTEN_MS = 600_000;

/** Stores a sign of life, and forgets the processes that gave none for long. */
export async function beat(transaction: Transaction, sign: Omit<WorkerSign, 'at'>): Promise<Written<null>> {
  const at = await transaction.now();
  await transaction.run('DELETE FROM workers WHERE at < ?', at - FORGOTTEN_MS);
  await transaction.run(
    `INSERT INTO workers (owner, sign, at) VALUES (?, ?, ?)
     ON CONFLICT (owner) DO UPDATE SET sign = excluded.sign, at = excluded.at`,
    sign.owner,
    JSON.stringify(sign),
    at,
  );
  return { result: null, changed: [] };
}

export async function leave(transaction: Transaction, owner: string): Promise<Written<null>> {
  await transaction.run('DELETE FROM workers WHERE owner = ?', owner);
  return { result: null, changed: [] };
}

/**
 * Returns the processes that gave a sign in the last minutes, by name, and the present time by the clock of the store.
 */
export async function readWorkers(database: Database): Promise<{ workers: WorkerSign[]; now: number }> {
  const now = await database.now();
  const sql = 'SELECT sign, at FROM workers WHERE at >= ? ORDER BY owner';
  const rows = await database.all(sql, now - FORGOTTEN_MS);
  const workers = rows.map(({ sign, at }) => ({
    ...(JSON.parse(String(sign)) as Omit<WorkerSign, 'at'>),
    at: Number(at),
  }));
  return { workers, now };
}

export async function readOldestWaiting(database: Database): Promise<number | null> {
  const row = await database.get(
    `SELECT min(created_at) AS since FROM runs WHERE state = 'queued'
       AND NOT EXISTS (SELECT 1 FROM held_runs WHERE run = runs.number)`,
  );
  return row === undefined || row.since === null ? null : Number(row.since);
}

/** Resolves to true if `owner` has the duty for the next `leaseMs`; nobody else has it then. */
export async function takeDuty(
  transaction: Transaction,
  duty: string,
  owner: string,
  leaseMs: number,
): Promise<Written<boolean>> {
  const now = await transaction.now();
  const taken = await transaction.run(
    `INSERT INTO roles (name, owner, expires_at) VALUES (?, ?, ?)
     ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, expires_at = excluded.expires_at
       WHERE roles.owner = excluded.owner OR roles.expires_at <= ?`,
    duty,
    owner,
    now + leaseMs,
    now,
  );
  return { result: taken === 1, changed: [] };
}

/** Gives the duty to the next process that asks. */
export async function leaveDuty(
  transaction: Transaction,
  duty: string,
  owner: string,
): Promise<Written<null>> {
  await transaction.run('DELETE FROM roles WHERE name = ? AND owner = ?', duty, owner);
  return { result: null, changed: [] };
}
