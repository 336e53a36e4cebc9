/** Copies what the built program needs besides its modules into dist; the second half of `npm run build`. */

import { cpSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.join(import.meta.dirname, '..');

/** Folders below src without any TypeScript. */
const ASSET_FOLDERS = ['stores/sql/schema', 'stores/sqlite/migrations', 'web/assets'];

function isCopied(file: string): boolean {
  return ASSET_FOLDERS.some((folder) => file.startsWith(folder + path.sep));
}

// A file that nobody copies would only be missed where the program is installed.
const forgotten = readdirSync(path.join(ROOT, 'src'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && !entry.name.endsWith('.ts'))
  .map((entry) => path.relative(path.join(ROOT, 'src'), path.join(entry.parentPath, entry.name)))
  .filter((file) => !isCopied(file));
if (forgotten.length > 0) {
  throw new Error(`bin/copy-assets.ts does not know the folder of ${forgotten.join(', ')}. Name it there.`);
}

for (const folder of ASSET_FOLDERS) {
  const target = path.join(ROOT, 'dist', folder);
  // Also drops what an earlier build left: every .sql file in the folder is taken for a migration.
  rmSync(target, { recursive: true, force: true });
  cpSync(path.join(ROOT, 'src', folder), target, { recursive: true });
}
