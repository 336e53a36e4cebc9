/** Reads the holds that stand. */

import type { Hold } from '../../runs/sync/hold.ts';
import type { Database, Row } from './database.ts';

export async function readHolds(database: Database): Promise<Hold[]> {
  const sql = 'SELECT * FROM holds WHERE ends_at IS NULL OR ends_at > ? ORDER BY created_at, id';
  return (await database.all(sql, await database.now())).map(toHold);
}

export function toHold(row: Row): Hold {
  const text = (value: unknown): string | null => (value === null ? null : String(value));
  return {
    id: String(row.id),
    repository: text(row.repository),
    environment: text(row.environment),
    services: row.services === null ? null : (JSON.parse(String(row.services)) as string[]),
    reason: String(row.reason),
    by: String(row.set_by),
    createdAt: Number(row.created_at),
    until: row.ends_at === null ? null : Number(row.ends_at),
  };
}
