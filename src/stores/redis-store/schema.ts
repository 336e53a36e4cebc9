/** What the data in Redis was written by: a newer version's is left alone. */

import { StoreUnavailableError } from '../../errors.ts';
import { type Connection, shownAddress } from './connection.ts';
import type { Keys } from './keys.ts';

const SCHEMA = 1;

export async function requireSchema(connection: Connection, keys: Keys, url: string): Promise<void> {
  await connection.call('SETNX', keys.schema, SCHEMA);
  const found = Number(await connection.call('GET', keys.schema));
  if (found === SCHEMA) return;
  throw new StoreUnavailableError(
    `The data in ${shownAddress(url)} was written by a newer iac-runner, or by another program.`,
    { nextAction: 'Start that version again, or give this one a database of its own in STORE_URL.' },
  );
}
