/** Reads the entries of a commit from which a snapshot is made: all of them, or only those that can count. */

import type { TreeEntry } from '../../git/own/mirror.ts';
import type { RepositoryReader } from '../../git/read/repository-reader.ts';
import { dependOnFolders } from './input-files.ts';
import { bookOf } from './rule-book.ts';
import { RULES_FILE, type Rules } from './service-rules.ts';

/** The named files of folders, by tree id. The id stands for the content, so no entry gets old. */
interface KnownFolders {
  names: string;
  files: Map<string, TreeEntry[]>;
}

/** Holds only the folders of a repository's last snapshot, so that it cannot grow. */
const lastFolders = new WeakMap<RepositoryReader, KnownFolders>();

/** A file that shadows Python's own module `platform`. */
export const SHADOWING_FILE = 'platform/__init__.py';

/** `names` are the files of a service's folder that count even if they make no service. */
export async function readEntries(
  repository: RepositoryReader,
  rules: Rules,
  revision: string,
  names: readonly string[],
): Promise<TreeEntry[]> {
  const levels = levelsOf(rules);
  if (!levels) return repository.listTree(revision);
  const [level, shared] = await Promise.all([
    repository.listLevel(
      revision,
      [...levels.keys()].map((root) => `${root}/`),
    ),
    repository.listTree(revision, [...rules.shared.map(({ path }) => path), RULES_FILE]),
  ]);
  const folders = level.filter(({ type, path }) => type === 'tree' && isServiceFolder(levels, path));
  const markers = bookOf(rules).rules.flatMap(({ glob }) => glob.fileName ?? []);
  const files = await readFolders(repository, folders, [...new Set([...markers, ...names])]);
  return [...level, ...shared, ...files];
}

type Levels = ReadonlyMap<string, readonly ((name: string) => unknown)[]>;

/** The folders that contain the folders of services, or null if all entries have to be read. */
function levelsOf(rules: Rules): Levels | null {
  const { rules: placed } = bookOf(rules);
  const isSimple =
    dependOnFolders(rules) &&
    placed.every(({ level, rule }) => level !== null && !rule.config) &&
    rules.shared.every(({ path }) => isPlain(path));
  if (!isSimple) return null;
  const levels = placed.flatMap(({ level }) => level ?? []);
  return new Map(
    [...Map.groupBy(levels, ({ root }) => root)].map(([root, list]) => {
      const byText = new Map(list.map(({ text, isFolder }) => [text, isFolder]));
      return [root, [...byText.values()]];
    }),
  );
}

/** True if git itself can list the path. */
function isPlain(path: string): boolean {
  return !/[\\*?]/.test(path);
}

function isServiceFolder(levels: Levels, folder: string): boolean {
  const slash = folder.lastIndexOf('/');
  const name = folder.slice(slash + 1);
  return levels.get(folder.slice(0, slash))?.some((isFolder) => isFolder(name)) ?? false;
}

/** Reads only folders with a tree id that the last snapshot did not have, and of these only the named files. */
async function readFolders(
  repository: RepositoryReader,
  folders: readonly TreeEntry[],
  names: readonly string[],
): Promise<TreeEntry[]> {
  const last = lastFolders.get(repository);
  const known = last?.names === names.join('/') ? last.files : new Map<string, TreeEntry[]>();
  const unknown = folders.flatMap(({ id }) => (known.has(id) ? [] : [id]));
  const read = await repository.filesIn(unknown, new Set(names));
  const files = new Map(folders.map(({ id }) => [id, known.get(id) ?? read.get(id) ?? []]));
  lastFolders.set(repository, { names: names.join('/'), files });
  return folders.flatMap(({ id, path: folder }) =>
    (files.get(id) ?? []).map(({ mode, type, id, path }) => ({ mode, type, id, path: `${folder}/${path}` })),
  );
}
