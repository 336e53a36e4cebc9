/** All writes of the store. The writer of a driver runs them inside a transaction. */

import type { Transaction, Written } from './database.ts';
import { beat, leave, leaveDuty, takeDuty } from './fleet.ts';
import { prune } from './prune.ts';
import { finishAction, recordAction } from './writes/audit.ts';
import { check, key, saveBaseline, saveOutsideHashes, saveReport, settleRun } from './writes/beside-runs.ts';
import { claim } from './writes/claim.ts';
import { decide, requestCancel } from './writes/decide.ts';
import { recordDelivery, recordMissed } from './writes/deliveries.ts';
import { type EnqueueValues, enqueue, enqueueAll } from './writes/enqueue.ts';
import { endHold, saveHold } from './writes/holds.ts';
import { append, renew, takeBack } from './writes/lease.ts';
import { endSession, saveSession } from './writes/sessions.ts';

export const WRITES = {
  enqueue,
  recordDelivery,
  recordMissed,
  claim,
  renew,
  append,
  takeBack,
  requestCancel,
  decide,
  saveHold,
  endHold,
  saveSession,
  endSession,
  recordAction,
  finishAction,
  saveBaseline,
  saveOutsideHashes,
  saveReport,
  settleRun,
  key,
  prune,
  check,
  beat,
  leave,
  takeDuty,
  leaveDuty,
} as const;

export type WriteName = keyof typeof WRITES;

interface WriteCall {
  name: WriteName;
  values: unknown[];
}

interface Outcome extends Written<unknown> {
  /** True if a run can be claimed that could not be claimed before. */
  mayClaim: boolean;
}

/** Splits calls, in their order, into groups for `perform`: neighbours that enqueue, or a single call. */
export function grouped<C extends WriteCall>(calls: readonly C[]): C[][] {
  const groups: C[][] = [];
  for (const call of calls) {
    const last = groups.at(-1);
    if (call.name === 'enqueue' && last?.[0]?.name === 'enqueue') last.push(call);
    else groups.push([call]);
  }
  return groups;
}

/** Runs the calls of a group. An error in the place of an outcome refuses only that call. */
export async function perform(
  transaction: Transaction,
  calls: readonly WriteCall[],
): Promise<(Outcome | Error)[]> {
  const [call] = calls;
  if (call?.name !== 'enqueue') return Promise.all(calls.map((one) => performOne(transaction, one)));
  return enqueueAll(
    transaction,
    calls.map(({ values }) => values as EnqueueValues),
  );
}

async function performOne(transaction: Transaction, { name, values }: WriteCall): Promise<Outcome> {
  const write = WRITES[name] as (transaction: Transaction, ...values: unknown[]) => Promise<Written<unknown>>;
  transaction.mayClaim = false;
  const written = await write(transaction, ...values);
  return { ...written, mayClaim: transaction.mayClaim };
}
