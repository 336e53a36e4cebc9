/** Writes the files of a git directory, so that the program never has to trust the files that it finds in one. */

import { type Dirent, constants as fsConstants } from 'node:fs';
import { access, lstat, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GitError, isDiskFull, orIfMissing } from '../../errors.ts';

/** The folders of a mirror. Hooks, grafts and leftover locks do not belong to it. */
const MIRROR_ENTRIES = new Set(['objects', 'refs']);
/** These files are replaced by a rename and never missing, because others read the mirror meanwhile. */
const MIRROR_FILES = new Set(['HEAD', 'config']);

/**
 * Makes `directory` a bare repository again. Its objects and the refs of one namespace stay; everything else in it is
 * removed or rewritten. The caller must have the lock of the mirror, because this removes the locks and the half packs
 * of killed gits.
 */
export async function prepareMirror(
  directory: string,
  branch: string,
  namespace: 'heads' | 'fetched' = 'heads',
): Promise<void> {
  for (const entry of await entriesOf(directory)) {
    if (MIRROR_ENTRIES.has(entry.name) && entry.isDirectory()) continue;
    if (MIRROR_FILES.has(entry.name) && entry.isFile()) continue;
    await remove(join(directory, entry.name));
  }
  await removeEntries(join(directory, 'refs'), (entry) => entry.name !== namespace || !entry.isDirectory());
  await removeEntries(join(directory, 'objects'), (entry) => entry.name === 'info' || !entry.isDirectory());
  await mkdir(join(directory, 'objects/pack'), { recursive: true });
  await mkdir(join(directory, 'refs', namespace), { recursive: true });
  await removeEntries(join(directory, 'objects/pack'), (entry) =>
    /^(tmp_|\.tmp-|.*\.lock$)/.test(entry.name),
  );
  await removeLocks(join(directory, 'refs', namespace));
  await writeRepository(directory, { bare: true, head: `ref: refs/heads/${branch}` });
}

/** Replaces what is at `directory` by an empty repository on top of `objects`. */
export async function renewBorrowingRepository(directory: string, objects: string): Promise<void> {
  try {
    await remove(directory);
    await writeBorrowingRepository(directory, { objects, head: null });
  } catch (error) {
    throw fileError(`The folder ${directory} cannot be made`, error);
  }
}

/** The file in which a repository says where more objects are. */
export function alternatesOf(directory: string): string {
  return join(directory, 'objects/info/alternates');
}

/** Makes a repository that reads the objects of another and keeps its own apart. `directory` must not exist. */
export async function writeBorrowingRepository(
  directory: string,
  { objects, head, origin }: { objects: string; head: string | null; origin?: string },
): Promise<void> {
  await mkdir(join(directory, 'objects/info'), { recursive: true });
  await mkdir(join(directory, 'objects/pack'));
  await mkdir(join(directory, 'refs/heads'), { recursive: true });
  await writeFile(alternatesOf(directory), `${objects}\n`);
  await writeRepository(directory, { bare: false, head: head ?? 'ref: refs/heads/none', origin });
}

/** Returns the commit of a detached HEAD or of a ref's file, and null for anything else. */
export async function readCommitId(path: string): Promise<string | null> {
  try {
    const stat = await lstat(path);
    if (!stat.isFile() || stat.size > 100) return null;
    return /^([0-9a-f]{40})\n?$/.exec(await readFile(path, 'utf8'))?.[1] ?? null;
  } catch {
    return null;
  }
}

/** True for a directory that this program can use, false if there is nothing. Throws GitError for anything else. */
export async function isOurDirectory(path: string): Promise<boolean> {
  const stat = await lstat(path)
    .catch(orIfMissing(null))
    .catch((error: unknown) => {
      throw fileError(`${path} cannot be read`, error);
    });
  if (!stat) return false;
  const unusable = (problem: string, nextAction: string): GitError =>
    new GitError('unavailable', `${path} ${problem}.`, { nextAction });
  if (!stat.isDirectory()) {
    const kind = stat.isSymbolicLink() ? 'a symbolic link' : 'not a directory';
    throw unusable(`is ${kind}`, 'Remove it: it is made again.');
  }
  const uid = process.geteuid?.();
  if (uid !== undefined && stat.uid !== uid) {
    throw unusable(
      `belongs to user ${stat.uid}, and this process is user ${uid}`,
      'Change its owner with chown -R, or remove it: it is made again.',
    );
  }
  await access(path, fsConstants.R_OK | fsConstants.W_OK | fsConstants.X_OK).catch((error: unknown) => {
    throw fileError(`${path} cannot be written`, error);
  });
  return true;
}

/** Returns the GitError for a failed file operation. `what` is a sentence without its full stop. */
export function fileError(what: string, error: unknown): GitError {
  if (error instanceof GitError) return error;
  const message = `${what}: ${error instanceof Error ? error.message : String(error)}.`;
  return isDiskFull(error)
    ? new GitError('disk_full', message, { nextAction: 'Free space on the disk.', cause: error })
    : new GitError('unavailable', message, {
        nextAction: 'Check owner and permissions of the path.',
        cause: error,
      });
}

/** Does the work, and turns an error of the file system into a GitError. */
export async function withFileErrors<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof Error && 'syscall' in error ? fileError(what, error) : error;
  }
}

function entriesOf(directory: string): Promise<Dirent[]> {
  return readdir(directory, { withFileTypes: true }).catch(orIfMissing<Dirent[]>([]));
}

export async function remove(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 2 });
}

async function removeEntries(directory: string, unwanted: (entry: Dirent) => boolean): Promise<void> {
  for (const entry of await entriesOf(directory)) {
    if (unwanted(entry)) await remove(join(directory, entry.name));
  }
}

async function removeLocks(directory: string): Promise<void> {
  for (const entry of await entriesOf(directory)) {
    if (entry.name.endsWith('.lock')) await remove(join(directory, entry.name));
    else if (entry.isDirectory()) await removeLocks(join(directory, entry.name));
  }
}

async function writeRepository(
  directory: string,
  { bare, head, origin }: { bare: boolean; head: string; origin?: string | undefined },
): Promise<void> {
  const core = `[core]\n\trepositoryFormatVersion = 0\n\tfileMode = true\n\tbare = ${bare}\n`;
  const url = origin?.replace(/["\\]/g, '\\$&');
  const remote = url === undefined ? '' : `[remote "origin"]\n\turl = "${url}"\n`;
  await replaceFile(join(directory, 'config'), core + remote);
  await replaceFile(join(directory, 'HEAD'), `${head}\n`);
}

/** Renames a new file, so that no reader sees half of it, and a link at `path` is replaced, not followed. */
async function replaceFile(path: string, content: string): Promise<void> {
  await writeFile(`${path}.new`, content, { flag: 'wx' });
  await rename(`${path}.new`, path);
}
