/** The file of the tables that a new store begins with, and those that bring an older store forward. */

import { readdirSync } from 'node:fs';
import path from 'node:path';
import { assetFile } from '../../program-files.ts';

export const SCHEMA_FILE = assetFile('stores/sql/schema/tables.sql');

/** Counts the changes of that file. */
export const SCHEMA_VERSION = 14;

/** Returns the files, in order, that bring a store of an earlier version forward, each with the version after it. */
export function migrationsSince(version: number): { file: string; version: number }[] {
  const directory = assetFile('stores/sqlite/migrations');
  const files = readdirSync(directory).sort();
  return files
    .map((name, index) => ({ file: path.join(directory, name), version: index + 1 }))
    .filter((migration) => migration.version > version);
}
