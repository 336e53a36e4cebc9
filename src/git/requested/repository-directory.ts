/** The files of a git directory that we write ourselves, so that nothing found in one is ever believed. */

import { type Dirent, constants as fsConstants } from 'node:fs';
import { access, lstat, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GitError, isDiskFull } from '../../errors.ts';

/** What a mirror consists of. Hooks, grafts, leftover locks are none of it. */
const MIRROR_ENTRIES = new Set(['objects', 'refs']);
/** Replaced by rename and never missing, as others read the mirror meanwhile. */
const MIRROR_FILES = new Set(['HEAD', 'config']);

/**
 * Makes `directory` a bare repository again, keeping its objects and the refs of one namespace: everything else in it
 * is removed or rewritten. Only to be called under the mirror's lock, as it removes the locks and the half packs of
 * killed gits.
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

/** Replaces `<workTree>/.git`, whatever it is, by a new one without an index, its objects those of the mirror. */
export async function renewWorkTreeRepository(options: {
  workTree: string;
  mirrorDirectory: string;
  /** Commit for HEAD, or null for none. */
  head: string | null;
}): Promise<void> {
  const directory = join(options.workTree, '.git');
  await remove(directory);
  const { mirrorDirectory, head } = options;
  await writeBorrowingRepository(directory, { objects: join(mirrorDirectory, 'objects'), head });
}

/** Where a repository says that it finds more objects. */
export function alternatesOf(directory: string): string {
  return join(directory, 'objects/info/alternates');
}

/** Makes a repository that reads the objects of another and keeps its own apart. `directory` must not be there. */
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

/** The commit a detached HEAD names, or the commit of a ref's file; null for anything else. */
export async function readCommitId(path: string): Promise<string | null> {
  try {
    const stat = await lstat(path);
    if (!stat.isFile() || stat.size > 100) return null;
    return /^([0-9a-f]{40})\n?$/.exec(await readFile(path, 'utf8'))?.[1] ?? null;
  } catch {
    return null;
  }
}

/** True for a directory of ours, false when there is nothing. Throws GitError for anything else, naming it. */
export async function isOurDirectory(path: string): Promise<boolean> {
  const stat = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw fileError(`${path} cannot be read`, error);
  });
  if (!stat) return false;
  if (!stat.isDirectory()) {
    throw new GitError(
      'unavailable',
      `${path} is ${stat.isSymbolicLink() ? 'a symbolic link' : 'not a directory'}.`,
      {
        nextAction: 'Remove it: it is made anew.',
      },
    );
  }
  const uid = process.geteuid?.();
  if (uid !== undefined && stat.uid !== uid) {
    throw new GitError(
      'unavailable',
      `${path} belongs to user ${stat.uid}, and this process is user ${uid}.`,
      {
        nextAction: 'Change its owner with chown -R, or remove it: it is made anew.',
      },
    );
  }
  await access(path, fsConstants.R_OK | fsConstants.W_OK | fsConstants.X_OK).catch((error: unknown) => {
    throw fileError(`${path} cannot be written`, error);
  });
  return true;
}

/** The GitError for a failed file operation. `what` is a sentence without its full stop. */
export function fileError(what: string, error: unknown): GitError {
  if (error instanceof GitError) return error;
  const detail = error instanceof Error ? error.message : String(error);
  return isDiskFull(error)
    ? new GitError('disk_full', `${what}: ${detail}.`, {
        nextAction: 'Free space on the disk.',
        cause: error,
      })
    : new GitError('unavailable', `${what}: ${detail}.`, {
        nextAction: 'Check owner and permissions of the path.',
        cause: error,
      });
}

async function entriesOf(directory: string): Promise<Dirent[]> {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
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

/** By rename, so that a reader never sees half of it and a link at `path` is replaced, not followed. */
async function replaceFile(path: string, content: string): Promise<void> {
  await writeFile(`${path}.new`, content, { flag: 'wx' });
  await rename(`${path}.new`, path);
}
