/** Ends runs that await an approval which nobody needs any more, because a newer request covers them. */

import type { Run } from '../../../runs/run.ts';
import { asKeys, type Transaction, type Written } from '../database.ts';
import { HOLDING_RUNS, type StoredRun, UNAPPROVED_RUNS } from '../rows.ts';
import { storedRuns } from './stored-runs.ts';
import { supersede } from './supersede.ts';

interface Created extends Written<{ run: Run }> {
  mayClaim: boolean;
}

/**
 * The run that holds a group ends, because the group would otherwise wait for it. A run that has never started ends only
 * if it coalesces, too. `created` are new runs in their order, as if one came after the other.
 */
export async function supersedeAwaiting(
  transaction: Transaction,
  created: readonly Created[],
  mayAwait: (group: string) => boolean,
): Promise<void> {
  const covering = Map.groupBy(
    created.filter(({ result: { run } }) => run.coalesce && mayAwait(run.concurrencyGroup)),
    ({ result: { run } }) => run.concurrencyGroup,
  );
  if (covering.size === 0) return;
  for (const stored of await awaitingIn(transaction, covering.keys())) {
    const newer = covering.get(stored.run.concurrencyGroup) ?? [];
    // An earlier run is not among them, so its place is -1 and the first of them covers it.
    const place = newer.findIndex(({ result }) => result.run.id === stored.run.id);
    const outcome = newer[place + 1];
    if (!outcome) continue;
    transaction.mayClaim = false;
    await supersede(transaction, stored, outcome.result.run.id);
    outcome.changed.push(stored.run.id);
    outcome.mayClaim ||= transaction.mayClaim;
  }
}

/** Returns the awaiting runs of the groups that a newer run may cover. */
async function awaitingIn(transaction: Transaction, groups: Iterable<string>): Promise<StoredRun[]> {
  const keys = asKeys(groups);
  const among = 'AND concurrency_group IN (SELECT key FROM json_each(?))';
  const [holding, unapproved] = await Promise.all([
    storedRuns(transaction, `FROM ${HOLDING_RUNS} AND state = 'awaiting_approval' ${among}`, keys),
    storedRuns(transaction, `FROM ${UNAPPROVED_RUNS} AND coalesce = 1 ${among} ORDER BY number`, keys),
  ]);
  return [...holding, ...unapproved];
}
