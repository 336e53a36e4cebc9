/**
 * Builds the program into dist, for `npm run build`. The modules and their packages are merged into few files, because
 * most of the time of a start, and much of its memory, goes to loading hundreds of them one by one.
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
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
  const chunks = await bundle();
  const assets = ASSET_FOLDERS.flatMap((folder) =>
    readdirSync(path.join(SOURCE, folder)).map((name) => path.join(folder, name)),
  );
  update([
    ...chunks.map(({ fileName, code }) => ({ name: fileName, content: code })),
    ...assets.map((name) => ({ name, content: readFileSync(path.join(SOURCE, name), 'utf8') })),
    { name: 'third-party-licenses.txt', content: licenses(chunks) },
  ]);
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
  const { output } = await bundling.generate({
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: '[name]-[hash].js',
  });
  await bundling.close();
  const chunks = output.filter((file) => file.type === 'chunk');
  const places = chunks.find(({ moduleIds }) => moduleIds.includes(path.join(SOURCE, 'program-files.ts')));
  if (places?.fileName.includes('/') !== false)
    throw new Error('src/program-files.ts is not at the top of dist, so it would give wrong paths.');
  return chunks;
}

/**
 * Writes what differs from an earlier build. Another process may run the program at this time, so equal files are not
 * touched, and each new one appears at once.
 */
function update(files: readonly { name: string; content: string }[]): void {
  for (const { name, content } of files) {
    const file = path.join(DIST, name);
    if (existsSync(file) && readFileSync(file, 'utf8') === content) continue;
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(`${file}.${process.pid}.new`, content);
    renameSync(`${file}.${process.pid}.new`, file);
  }
  const names = new Set(files.map(({ name }) => name));
  for (const entry of readdirSync(DIST, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name);
    const isKept = names.has(path.relative(DIST, file)) || file.endsWith('.new');
    if (entry.isFile() && !isKept) rmSync(file, { force: true });
  }
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
  const { name, version } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
  const files = readdirSync(folder).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file));
  const texts = files.map((file) => readFileSync(path.join(folder, file), 'utf8').trim());
  if (texts.length === 0) texts.push(licenseInReadme(folder));
  return [`${name} ${version}`, ...texts].join('\n\n');
}

/** Some packages have their licence in a chapter of their README. */
function licenseInReadme(folder: string): string {
  const [file = ''] = readdirSync(folder).filter((name) => /^readme/i.test(name));
  const [chapter] = /^#+ *licen[cs]e[\s\S]*/im.exec(readFileSync(path.join(folder, file), 'utf8')) ?? [];
  if (chapter === undefined) throw new Error(`${folder} has no licence. Find out whether it may be shipped.`);
  return chapter.trim();
}

await build();
