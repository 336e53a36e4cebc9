/** Writes the sign-ins of people. */

import type { Session } from '../../../runs/people.ts';
import type { Transaction, Written } from '../database.ts';

/** More sessions than this are not kept: the oldest ones end. */
const MAX_SESSIONS = 10_000;

export async function saveSession(transaction: Transaction, session: Session): Promise<Written<null>> {
  const { createdAt, endsAt, ...columns } = session;
  await transaction.run('DELETE FROM sessions WHERE ends_at <= ?', createdAt);
  await transaction.run(
    'DELETE FROM sessions WHERE id IN (SELECT id FROM sessions ORDER BY ends_at DESC LIMIT ? OFFSET ?)',
    MAX_SESSIONS,
    MAX_SESSIONS - 1,
  );
  await transaction.insert('sessions', [{ ...columns, created_at: createdAt, ends_at: endsAt }]);
  return { result: null, changed: [] };
}

/** Resolves to false if there is no such session. */
export async function endSession(transaction: Transaction, id: string): Promise<Written<boolean>> {
  const ended = await transaction.run('DELETE FROM sessions WHERE id = ?', id);
  return { result: ended > 0, changed: [] };
}
