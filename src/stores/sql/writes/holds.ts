/** Writes holds, what they hold, and what goes on when they end. */

import { kindOf } from '../../../runs/kinds/kinds.ts';
import { projectRun } from '../../../runs/projections/project-run.ts';
import type { Run } from '../../../runs/run.ts';
import { askedAfterHold } from '../../../runs/run-decisions.ts';
import type { LeftOut, RunEventBody } from '../../../runs/run-events.ts';
import { type Hold, MAX_HOLDS, type NewHold } from '../../../runs/sync/hold.ts';
import { insertForEach } from '../append-events.ts';
import { noteReleased } from '../claimable.ts';
import { asKeys, type Transaction, type Written } from '../database.ts';
import { toHold } from '../holds.ts';
import { QUEUED_RUNS, type StoredRun } from '../rows.ts';
import { enqueue } from './enqueue.ts';
import { storedRuns } from './stored-runs.ts';
import { timeOrderedId } from './time-ordered-id.ts';

const STANDING = '(ends_at IS NULL OR ends_at > ?)';

export async function saveHold(transaction: Transaction, hold: NewHold): Promise<Written<Hold | null>> {
  const sql = `SELECT count(*) AS holds FROM holds WHERE ${STANDING}`;
  const standing = await transaction.get(sql, await transaction.now());
  if (Number(standing?.holds) >= MAX_HOLDS) return { result: null, changed: [] };
  const last = await transaction.get('SELECT max(created_at) AS at FROM holds');
  // No two holds have the same time, so that their order is that in which they were set.
  const createdAt = Math.max(await transaction.now(), Number(last?.at ?? 0) + 1);
  const saved: Hold = { ...hold, id: timeOrderedId(createdAt), createdAt };
  await transaction.insert('holds', [
    {
      id: saved.id,
      repository: saved.repository,
      environment: saved.environment,
      services: saved.services && JSON.stringify(saved.services),
      reason: saved.reason,
      set_by: saved.by,
      created_at: saved.createdAt,
      ends_at: saved.until,
    },
  ]);
  return { result: saved, changed: [] };
}

export async function endHold(transaction: Transaction, id: string): Promise<Written<Hold | null>> {
  const sql = `SELECT * FROM holds WHERE id = ? AND ${STANDING}`;
  const row = await transaction.get(sql, id, await transaction.now());
  if (!row) return { result: null, changed: [] };
  return { result: toHold(row), changed: await end(transaction, [id]) };
}

/** Ends the holds whose time has come. Resolves to the ids of the runs that changed. */
export async function endHoldsUntil(transaction: Transaction, now: number): Promise<string[]> {
  const rows = await transaction.all('SELECT id FROM holds WHERE ends_at <= ?', now);
  return rows.length === 0
    ? []
    : end(
        transaction,
        rows.map(({ id }) => String(id)),
      );
}

/** Removes the holds. Runs that waited for them may start, and what other runs left out is asked for again. */
async function end(transaction: Transaction, holds: readonly string[]): Promise<string[]> {
  const keys = asKeys(holds);
  const among = 'hold IN (SELECT key FROM json_each(?))';
  const rows = await transaction.all(`SELECT run, services FROM held_runs WHERE ${among} ORDER BY run`, keys);
  const stored = await storedRuns(
    transaction,
    `FROM runs WHERE number IN (SELECT run FROM held_runs WHERE ${among}) ORDER BY number`,
    keys,
  );
  // A run that waited or left something out looks at all holds again, so it has no row of another hold either.
  await transaction.run(
    `DELETE FROM held_runs WHERE run IN (SELECT run FROM held_runs WHERE ${among})`,
    keys,
  );
  await transaction.run('DELETE FROM holds WHERE id IN (SELECT key FROM json_each(?))', keys);
  const changed: string[] = [];
  const waiting = stored.filter(({ run }) => run.state === 'queued');
  for (const ofGroup of Map.groupBy(waiting, ({ run }) => run.concurrencyGroup).values()) {
    await letGo(transaction, ofGroup);
    changed.push(...ofGroup.map(({ run }) => run.id));
  }
  for (const { run, number } of stored.filter(({ run: { state } }) => state !== 'queued')) {
    const services = rows.filter((row) => row.run === number).flatMap(servicesOf);
    changed.push(...(await askAgain(transaction, run, [...new Set(services)])));
  }
  return changed;
}

function servicesOf(row: Record<string, unknown>): string[] {
  return JSON.parse(String(row.services)) as string[];
}

/** Lets the queued runs of one group go, by a few statements for all of them. */
async function letGo(transaction: Transaction, stored: readonly StoredRun[]): Promise<void> {
  const [first] = stored;
  if (!first) return;
  const at = await transaction.now();
  const event = { type: 'run.released', message: kindOf(first.run).queued } as const;
  const released = projectRun(first.run, event, at);
  const among = 'id IN (SELECT key FROM json_each(?))';
  const ids = asKeys(stored.map(({ run }) => run.id));
  await insertForEach(transaction, stored, { at, event });
  await transaction.run(
    `UPDATE runs SET not_before = ?, message = ?, next_seq = next_seq + 1 WHERE ${among}`,
    released.notBefore,
    released.message,
    ids,
  );
  await noteReleased(transaction, first.run.concurrencyGroup);
}

/** Asks again for what a run left out. A run that waits already and brings the branch up to date is enough. */
async function askAgain(transaction: Transaction, run: Run, services: string[]): Promise<string[]> {
  const request = services.length === 0 ? null : askedAfterHold(run, services);
  if (!request) return [];
  if (request.coalesce) {
    const sql = `SELECT 1 AS waits FROM ${QUEUED_RUNS} AND concurrency_group = ? AND coalesce = 1
      AND NOT EXISTS (SELECT 1 FROM held_runs WHERE run = runs.number) LIMIT 1`;
    if (await transaction.get(sql, run.concurrencyGroup)) return [];
  }
  const { result, changed } = await enqueue(transaction, request);
  return [...changed, result.run.id];
}

/**
 * Notes what the events of a run say about holds. A hold may have ended after the run looked at it: the run then waits
 * for nothing, and what it left out is asked for again at once.
 */
export async function noteHeld(
  transaction: Transaction,
  stored: StoredRun,
  events: readonly RunEventBody[],
): Promise<{ events: RunEventBody[]; changed: string[] }> {
  const changed: string[] = [];
  const noted: RunEventBody[] = [];
  for (const event of events) {
    const { holds, services } = heldIn(event);
    const standing = holds.length === 0 ? [] : await standingOf(transaction, holds);
    const hasEnded = standing.length < holds.length;
    if (event.type === 'run.requeued' && hasEnded) {
      noted.push({ ...event, message: kindOf(stored.run).queued, notBefore: 0 });
      continue;
    }
    noted.push(event);
    // A run that has ended leaves to another one what it would have done itself.
    const run = event.type === 'run.finished' ? { ...stored.run, state: event.state } : stored.run;
    if (hasEnded) changed.push(...(await askAgain(transaction, run, services)));
    else await insertHeld(transaction, stored, standing, services);
  }
  return { events: noted, changed };
}

/** The holds that an event names, and the services that they keep the run from syncing. */
function heldIn(event: RunEventBody): LeftOut {
  switch (event.type) {
    case 'run.held':
      return event;
    case 'run.requeued':
      return { holds: event.holds ?? [], services: [] };
    case 'run.finished':
      return event.leftOut ?? { holds: [], services: [] };
    default:
      return { holds: [], services: [] };
  }
}

async function standingOf(transaction: Transaction, holds: readonly string[]): Promise<string[]> {
  const rows = await transaction.all(
    `SELECT id FROM holds WHERE id IN (SELECT key FROM json_each(?)) AND ${STANDING}`,
    asKeys(holds),
    await transaction.now(),
  );
  return rows.map(({ id }) => String(id));
}

async function insertHeld(
  transaction: Transaction,
  { run, number }: StoredRun,
  holds: readonly string[],
  services: string[],
): Promise<void> {
  if (holds.length === 0) return;
  await transaction.insert(
    'held_runs',
    holds.map((hold) => ({ hold, run: number, services: JSON.stringify(services) })),
    'ON CONFLICT (hold, run) DO UPDATE SET services = excluded.services',
  );
  if (!run.coalesce) return;
  // The newest of these runs brings the branch up to date, so that the list does not grow with every push.
  await transaction.run(
    `DELETE FROM held_runs WHERE hold IN (SELECT key FROM json_each(?)) AND run <> ? AND EXISTS (
       SELECT 1 FROM runs WHERE number = held_runs.run AND concurrency_group = ? AND coalesce = 1
         AND finished_at IS NOT NULL)`,
    asKeys(holds),
    number,
    run.concurrencyGroup,
  );
}
