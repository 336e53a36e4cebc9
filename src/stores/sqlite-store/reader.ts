/** The reading connection over its life: opened again after an error that makes it doubtful. */

import { StoreUnavailableError } from '../../errors.ts';
import { adviceFor, isDistrusted, isUnavailable } from './connection.ts';
import { type Database, openForReading } from './database.ts';

export interface Reader {
  /** Throws StoreUnavailableError when the file cannot be read now; the next call tries again. */
  read<T>(query: (database: Database) => T): T;
  close(): void;
}

export function openReader(file: string): Reader {
  let database: Database | null = openForReading(file);

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
    read(query) {
      try {
        database ??= openForReading(file);
        return query(database);
      } catch (error) {
        throw failed(error);
      }
    },
    close: () => database?.close(),
  };
}

function closeQuietly(database: Database | null): void {
  try {
    database?.close();
  } catch {
    // A connection that cannot be closed is never used again.
  }
}
