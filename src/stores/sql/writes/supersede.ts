/** Ends runs that a newer run covers. */

import { projectRun } from '../../../runs/projections/project-run.ts';
import type { Run } from '../../../runs/run.ts';
import { supersededBy } from '../../../runs/run-decisions.ts';
import { sequenceWidth } from '../../../runs/run-events.ts';
import { appendEvents, countEndings, dropSealed, insertForEach } from '../append-events.ts';
import { noteLeft } from '../claimable.ts';
import { asKeys, type Transaction } from '../database.ts';
import type { StoredRun } from '../rows.ts';

export async function supersede(
  transaction: Transaction,
  stored: StoredRun,
  coveredBy: string,
): Promise<void> {
  await appendEvents(transaction, stored, [supersededBy(stored.run, coveredBy)]);
}

/**
 * Supersedes queued runs of one group. A thousand runs need as many updates as one, because a claim may cover all pushes
 * of a busy hour.
 */
export async function supersedeQueued(
  transaction: Transaction,
  queued: readonly StoredRun[],
  coveredBy: string,
): Promise<void> {
  const [first] = queued;
  if (!first) return;
  const at = await transaction.now();
  const event = supersededBy(first.run, coveredBy);
  const ended = queued.map(({ run }) => projectRun(run, event, at));
  await insertForEach(transaction, queued, { at, event });
  await saveEnds(transaction, ended, sequenceWidth(event));
  await countEndings(transaction, ended);
  await dropSealed(
    transaction,
    ended.map(({ id }) => id),
  );
  await noteLeft(transaction, first.run.concurrencyGroup, queued.length);
}

/** The runs have ended by the same event. */
async function saveEnds(transaction: Transaction, ended: readonly Run[], width: number): Promise<void> {
  const [sample] = ended;
  if (!sample) return;
  await transaction.run(
    `UPDATE runs SET state = ?, reason = ?, message = ?, covered_by = ?, finished_at = ?,
       approval_expires_at = NULL, next_seq = next_seq + ?, lease_token = NULL
     WHERE id IN (SELECT key FROM json_each(?))`,
    sample.state,
    sample.reason,
    sample.message,
    sample.coveredBy,
    sample.finishedAt,
    width,
    asKeys(ended.map(({ id }) => id)),
  );
}
