/** Deletes what is older than the retention, a little at a time, so that nothing else waits for it. */

import type { ReporterName } from '../../runs/run-store.ts';
import { REPORTERS } from '../../runs/run-store.ts';
import { readNamedRuns } from './branches.ts';
import { pruneDeliveries } from './deliveries.ts';
import { createDraft, expectSame } from './draft.ts';
import type { Keys } from './keys.ts';
import type { Room } from './room.ts';
import { readStoredRuns, type StoredRun, texts } from './stored-run.ts';

/** Of one call. */
const RUNS = 50;
const LOOKED_AT = 500;

export interface PruneOptions {
  before: number;
  deliveriesBefore: number;
  reporters: readonly ReporterName[];
}

/** True when there may be more to delete. */
export async function prune(room: Room, options: PruneOptions): Promise<boolean> {
  const runs = await pruneRuns(room, options);
  const deliveries = await pruneDeliveries(room, options.deliveriesBefore);
  return runs || deliveries;
}

async function pruneRuns(room: Room, { before, reporters }: PruneOptions): Promise<boolean> {
  const { connection, keys } = room;
  const named = await readNamedRuns(room);
  for (let offset = 0; ; offset += LOOKED_AT) {
    const page = await connection.call(
      ...(['ZRANGEBYSCORE', keys.ended, '-inf', `(${before}`, 'LIMIT', offset, LOOKED_AT] as const),
    );
    const ids = texts(page).map(String);
    if (ids.length === 0) return false;
    const kept = await readKept(room, ids, reporters);
    const old = ids.filter((id) => !named.has(id) && !kept.has(id)).slice(0, RUNS);
    if (old.length === 0) continue;
    for (const stored of await readStoredRuns(connection, keys, old)) if (stored) await remove(room, stored);
    // What is only half there: its place in the list is all that is known of it.
    await connection.call('ZREM', keys.ended, ...old);
    return true;
  }
}

/** Those that cover another, or that a reporter has still to tell about. */
async function readKept(
  { connection, keys }: Room,
  ids: readonly string[],
  reporters: readonly ReporterName[],
): Promise<Set<string>> {
  const questions = (id: string) => [
    ['EXISTS', keys.covered(id)],
    ...reporters.map((reporter) => ['ZSCORE', keys.unreported(reporter), id]),
  ];
  const answers = await connection.all(ids.flatMap(questions));
  const width = reporters.length + 1;
  return new Set(
    ids.filter((_, index) => {
      const [covers, ...owed] = answers.slice(index * width, (index + 1) * width);
      return covers === 1 || owed.some((score) => score !== null);
    }),
  );
}

async function remove(room: Room, stored: StoredRun): Promise<void> {
  const { connection, keys, committer } = room;
  const { run } = stored;
  const draft = createDraft();
  expectSame(draft, ['HGET', keys.run(run.id), 'seq'], stored.seq);
  const lists = [
    ...[keys.runs, keys.ended, keys.runsBy('kind', run.kind), keys.runsBy('state', run.state)],
    ...[keys.runsBy('group', run.concurrencyGroup), ...REPORTERS.map((name) => keys.unreported(name))],
  ];
  draft.writes.push(...lists.map((list) => ['ZREM', list, run.id]), ['UNLINK', ...keysOf(keys, run.id)]);
  if (run.coveredBy !== null) draft.writes.push(['SREM', keys.covered(run.coveredBy), run.id]);
  if (run.dedupeKey !== null) {
    const latest = await connection.call('HGET', keys.dedupe, run.dedupeKey);
    expectSame(draft, ['HGET', keys.dedupe, run.dedupeKey], latest);
    // It may stand for a later run by now.
    if (latest === run.id) draft.writes.push(['HDEL', keys.dedupe, run.dedupeKey]);
  }
  await committer.commit(draft);
}

function keysOf(keys: Keys, id: string): string[] {
  const names = ['run', 'steps', 'events', 'index', 'sealed', 'keptPlan', 'covered', 'reports'] as const;
  return names.map((name) => keys[name](id));
}
