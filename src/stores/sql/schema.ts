/** The file of the tables that a new store begins with. */

import path from 'node:path';

export const SCHEMA_FILE = path.join(import.meta.dirname, 'schema/tables.sql');

/** Counts the changes of that file. */
export const SCHEMA_VERSION = 9;
