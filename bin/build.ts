/**
 * Builds the program into dist, for `npm run build`. The modules and their packages are merged into few files, because
 * most of the time of a start, and much of its memory, goes to loading hundreds of them one by one.
 */

import { cpSync, globSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type OutputChunk, rolldown } from 'rolldown';
import { MODULES } from '../src/program-files.ts';

const ROOT = path.join(import.meta.dirname, '..');
const SOURCE = path.join(ROOT, 'src');
const DIST = path.join(ROOT, 'dist');

/** Folders below src without any TypeScript. */
const ASSET_FOLDERS = ['stores/sql/schema', 'stores/sqlite/migrations', 'web/assets'];

/** A package asks for it in a try block, and does without it. */
const OPTIONAL_PACKAGES = ['pg-native'];

async function build(): Promise<void> {
  checkAssets();
  // Files of an earlier build may have other names.
  rmSync(DIST, { recursive: true, force: true });
  const chunks = await bundle();
  for (const folder of ASSET_FOLDERS)
    cpSync(path.join(SOURCE, folder), path.join(DIST, folder), { recursive: true });
  writeFileSync(path.join(DIST, 'third-party-licenses.txt'), licenses(chunks));
}

async function bundle(): Promise<OutputChunk[]> {
  const bundling = await rolldown({
    input: Object.fromEntries(MODULES.map((name) => [name, path.join(SOURCE, `${name}.ts`)])),
    platform: 'node',
    external: [/^node:/, ...OPTIONAL_PACKAGES],
    // A warning names something that is missing or ambiguous, and the program would fail only where it is installed.
    onLog(_level, log) {
      throw new Error(log.message);
    },
  });
  // The names of functions stay, for stack traces.
  const { output } = await bundling.write({
    dir: DIST,
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: '[name]-[hash].js',
  });
  await bundling.close();
  return output.filter((file) => file.type === 'chunk');
}

/** A file that nobody copies would only be missed where the program is installed. */
function checkAssets(): void {
  const forgotten = readdirSync(SOURCE, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.ts'))
    .map((entry) => path.relative(SOURCE, path.join(entry.parentPath, entry.name)))
    .filter((file) => !ASSET_FOLDERS.some((folder) => file.startsWith(folder + path.sep)));
  if (forgotten.length > 0) {
    throw new Error(`bin/build.ts does not know the folder of ${forgotten.join(', ')}. Name it there.`);
  }
}

/** Returns the licences of the packages in the bundle, because most of them require that their text goes along. */
function licenses(chunks: readonly OutputChunk[]): string {
  const folders = new Set(
    chunks
      .flatMap(({ moduleIds }) => moduleIds)
      .flatMap((id) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id) ?? []),
  );
  return [...folders].toSorted().map(licenseOf).join('\n\n');
}

function licenseOf(folder: string): string {
  const { name, version, license } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
  const [file] = globSync('{LICEN[CS]E,licen[cs]e,COPYING}*', { cwd: folder });
  const text =
    file === undefined ? `Licence: ${license}` : readFileSync(path.join(folder, file), 'utf8').trim();
  return `${name} ${version}\n\n${text}`;
}

await build();
