/** Manages the reading connection: it is opened again after an error that makes it unreliable. */

import { StoreUnavailableError } from '../../errors.ts';
import type { Database } from '../sql/database.ts';
import { adviceFor, isDistrusted, isUnavailable } from './connection.ts';
import { openForReading, type SqliteDatabase } from './database.ts';

export interface Reader {
  /** Throws StoreUnavailableError when the file cannot be read now; the next call tries again. */
  read<T>(query: (database: Database) => Promise<T>): Promise<T>;
  close(): void;
}

export function openReader(file: string): Reader {
  let database: SqliteDatabase | null = openForReading(file);

  function failed(error: unknown): unknown {
    if (isDistrusted(error)) {
      closeQuietly(database);
      database = null;
    }
    if (!isUnavailable(error)) return error;
    const reason = error instanceof Error ? error.message : String(error);
    return new StoreUnavailableError(`The store cannot be read: ${reason}.`, {
      nextAction: adviceFor(error),
      cause: error,
    });
  }

  return {
    async read(query) {
      try {
        database ??= openForReading(file);
        return await query(database);
      } catch (error) {
        throw failed(error);
      }
    },
    close: () => database?.close(),
  };
}

function closeQuietly(database: SqliteDatabase | null): void {
  try {
    database?.close();
  } catch {
    // A connection that cannot be closed is never used again.
  }
}
