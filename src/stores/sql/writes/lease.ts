/** The writes that need a lease, and the end of leases. */

import { StaleLeaseError } from '../../../errors.ts';
import { kindOf } from '../../../runs/kinds/kinds.ts';
import type { Run } from '../../../runs/run.ts';
import { areLast, completed, takenBack } from '../../../runs/run-decisions.ts';
import type { Lease, RunStore } from '../../../runs/run-store.ts';
import { appendEvents } from '../append-events.ts';
import { placeholders, type Transaction, type Value, type Written } from '../database.ts';
import { enqueue } from './enqueue.ts';
import { noteHeld } from './holds.ts';
import { openSteps, saveBeside, storedRuns, uncover } from './stored-runs.ts';

/** Any machine can use a plan that the store keeps. The home of the run has the files already, which is less work. */
const NEAREST_HOME_MS = 15_000;

export async function renew(transaction: Transaction, lease: Lease, leaseMs: number): Promise<Written<null>> {
  const changed = await transaction.run(
    `UPDATE runs SET lease_expires_at = ?
      WHERE id = ? AND lease_token = ? AND state = 'running'`,
    (await transaction.now()) + leaseMs,
    lease.runId,
    lease.token,
  );
  if (changed === 0) throw new StaleLeaseError(lease.runId);
  return { result: null, changed: [] };
}

export async function append(
  transaction: Transaction,
  ...[lease, events, followUp, keptPlan]: Parameters<RunStore['append']>
): Promise<Written<null>> {
  const [stored] = await storedRuns(
    transaction,
    "FROM runs WHERE id = ? AND lease_token = ? AND state = 'running'",
    lease.runId,
    lease.token,
  );
  if (!stored) throw new StaleLeaseError(lease.runId);
  const changed = [lease.runId];
  let toAppend = areLast(events)
    ? completed(stored.run, events, await openSteps(transaction, stored))
    : events;
  const held = await noteHeld(transaction, stored, toAppend);
  toAppend = held.events;
  changed.push(...held.changed);
  if (followUp) {
    const { run } = (await enqueue(transaction, followUp)).result;
    changed.push(run.id);
    toAppend = toAppend.map((event) =>
      event.type === 'run.finished' ? { ...event, coveredBy: run.id } : event,
    );
  }
  if (keptPlan !== undefined) await saveBeside(transaction, 'kept_plans', stored.number, keptPlan);
  const run = await appendEvents(transaction, stored, toAppend);
  if (run.state === 'awaiting_approval' && keptPlan !== undefined && canGoOnAnywhere(run)) {
    const sql = 'UPDATE runs SET home_ms = ? WHERE number = ?';
    await transaction.run(sql, NEAREST_HOME_MS, stored.number);
  }
  changed.push(...(await uncover(transaction, toAppend)));
  return { result: null, changed };
}

export async function takeBack(
  transaction: Transaction,
  { all, owner, runs, maxAttempts }: Parameters<RunStore['takeBack']>[0],
): Promise<Written<string[]>> {
  const { sql, values } = all ? { sql: '', values: [] } : holderHasEnded(await transaction.now(), owner);
  const among = runs ? `AND id IN ${placeholders(runs)}` : '';
  const orphans = await storedRuns(
    transaction,
    `FROM runs WHERE state = 'running' ${sql} ${among} ORDER BY number`,
    ...values,
    ...(runs ?? []),
  );
  for (const orphan of orphans) {
    const events = takenBack(orphan.run, await openSteps(transaction, orphan), maxAttempts);
    await appendEvents(transaction, orphan, events);
  }
  const ids = orphans.map((orphan) => orphan.run.id);
  return { result: ids, changed: ids };
}

/** Returns the condition that the lease has ended, or that its owner is `owner` or begins with `owner` and a colon. */
function holderHasEnded(now: number, owner: string | undefined): { sql: string; values: Value[] } {
  if (owner === undefined) return { sql: 'AND lease_expires_at < ?', values: [now] };
  const prefix = `${owner}:`;
  return {
    sql: 'AND (lease_expires_at < ? OR lease_owner = ? OR substr(lease_owner, 1, ?) = ?)',
    values: [now, owner, prefix.length, prefix],
  };
}

/**
 * Returns true if the store keeps the plan of the run, and every machine would apply it with the same version of the
 * tool.
 */
function canGoOnAnywhere(run: Run): boolean {
  return typeof kindOf(run).machineTool?.(run.input).toolVersion === 'string';
}
