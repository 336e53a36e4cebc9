/** The file of the tables that a new store begins with. */

import { assetFile } from '../../program-files.ts';

export const SCHEMA_FILE = assetFile('stores/sql/schema/tables.sql');

/** Counts the changes of that file. */
export const SCHEMA_VERSION = 9;
