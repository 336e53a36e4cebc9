/** For tests: the files of a commit, by their paths. */

export const REGULAR = '100644';
export const EXECUTABLE = '100755';
export const LINK = '120000';
export const SUBMODULE = '160000';

export interface RandomFile {
  mode: string;
  /** The content, the target of a link, or the commit of a submodule. */
  content: string;
}

export type Files = ReadonlyMap<string, RandomFile>;

/** Writes a file. A file at a folder above it, and everything below it, is removed, as git would do. */
export function put(files: Map<string, RandomFile>, path: string, file: RandomFile): void {
  const segments = path.split('/');
  for (let depth = 1; depth < segments.length; depth += 1) files.delete(segments.slice(0, depth).join('/'));
  for (const other of files.keys()) if (other.startsWith(`${path}/`)) files.delete(other);
  files.set(path, file);
}

export function removeAll(files: Map<string, RandomFile>, place: string): void {
  for (const path of files.keys()) if (isIn(path, place)) files.delete(path);
}

/** Moves a file or folder, or copies it. */
export function move(files: Map<string, RandomFile>, from: string, to: string, keep = false): void {
  const moved = [...files].filter(([path]) => isIn(path, from));
  if (!keep) removeAll(files, from);
  for (const [path, file] of moved) put(files, `${to}${path.slice(from.length)}`, file);
}

function isIn(path: string, place: string): boolean {
  return path === place || path.startsWith(`${place}/`);
}
