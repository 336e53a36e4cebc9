/** What reporters have told, and which runs they have still to tell about. */

import { isFinal, type Run } from '../../runs/run.ts';
import type { Report, ReporterName } from '../../runs/run-store.ts';
import { commentOwed } from './append-events.ts';
import { createDraft, expectSame } from './draft.ts';
import { type Room, untilCommitted } from './room.ts';
import { readStoredRun, readStoredRuns, texts } from './stored-run.ts';

/** Oldest first. */
export async function readUnreported(room: Room, reporter: ReporterName, limit: number): Promise<Run[]> {
  const { connection, keys } = room;
  const ids = texts(await connection.call('ZRANGE', keys.unreported(reporter), 0, limit - 1)).map(String);
  const stored = await readStoredRuns(connection, keys, ids);
  // Nobody will ever tell of a run that is not there: it would stand before the others for ever.
  const lost = ids.filter((_, index) => stored[index] === null);
  if (lost.length > 0) await connection.call('ZREM', keys.unreported(reporter), ...lost);
  return stored.flatMap((one) => (one ? [one.run] : []));
}

export async function readReports(
  { connection, keys }: Room,
  reporter: ReporterName,
  runId: string,
): Promise<Report[]> {
  const all = texts(await connection.call('HVALS', keys.reports(runId)));
  return all.map((text): Report => JSON.parse(text ?? '')).filter((report) => report.reporter === reporter);
}

export async function saveReport({ committer, keys }: Room, report: Report): Promise<void> {
  const { reporter, runId, target } = report;
  const draft = createDraft();
  // Of a run that was deleted nothing is kept.
  expectSame(draft, ['EXISTS', keys.run(runId)], 1);
  draft.writes.push([
    ...['HSET', keys.reports(runId), JSON.stringify([reporter, target])],
    JSON.stringify(report),
  ]);
  await committer.commit(draft);
}

/** What was kept for the comment of a plan goes with the last need for it. */
export function settleRun(room: Room, reporter: ReporterName, runId: string): Promise<void> {
  const { connection, keys, committer } = room;
  return untilCommitted(async () => {
    const draft = createDraft();
    draft.writes.push(['ZREM', keys.unreported(reporter), runId]);
    const [stored, owed = null] = await Promise.all([
      readStoredRun(connection, keys, runId),
      connection.call(...(commentOwed(keys, runId) as ['ZSCORE', string, string])),
    ]);
    if (stored && isFinal(stored.run.state) && (owed === null || reporter === 'plan-comment')) {
      draft.writes.push(['DEL', keys.sealed(runId)]);
    }
    // Should the run end at this moment, one of the two sees the other.
    if (stored) expectSame(draft, ['HGET', keys.run(runId), 'seq'], stored.seq);
    return (await committer.commit(draft)) && { done: undefined };
  });
}
