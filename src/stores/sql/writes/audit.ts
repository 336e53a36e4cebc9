/** Writes the audit log. */

import type { ActionEnd, NewAuditEntry } from '../../../runs/people.ts';
import type { Transaction, Written } from '../database.ts';
import { timeOrderedId } from './time-ordered-id.ts';

/** Resolves to the id of the entry. */
export async function recordAction(transaction: Transaction, entry: NewAuditEntry): Promise<Written<string>> {
  const last = await transaction.get('SELECT max(at) AS at FROM audit');
  // No two entries have the same time, so that their ids are in the order of what was done.
  const at = Math.max(await transaction.now(), Number(last?.at ?? 0) + 1);
  const id = timeOrderedId(at);
  await transaction.insert('audit', [{ id, at, ...entry }]);
  return { result: id, changed: [] };
}

/** Notes how an action ended, and exactly what it was and what it was done to, if that was not known before. */
export async function finishAction(
  transaction: Transaction,
  id: string,
  { result, action, target }: ActionEnd,
): Promise<Written<null>> {
  const columns = 'result = ?, action = ?, target = ?';
  await transaction.run(`UPDATE audit SET ${columns} WHERE id = ?`, result, action, target, id);
  return { result: null, changed: [] };
}
