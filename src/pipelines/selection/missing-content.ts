/** Finds content that a commit names and a checkout does not contain: submodules, and files of Git LFS. */

import { open } from 'node:fs/promises';
import path from 'node:path';
import { eachInTurns } from '../../event-loop.ts';
import type { TreeEntry } from '../../git/own/mirror.ts';
import type { RepositoryReader } from '../../git/read/repository-reader.ts';
import { createPathTree } from '../rules/patterns/path-tree.ts';

const LFS_POINTER = 'version https://git-lfs.github.com/spec/';
const SHOWN = 5;
/** The most files that are checked. No known repository has more. */
const MAX_FILES = 20_000;
const AT_ONCE = 64;

interface CheckoutAtCommit {
  repository: Pick<RepositoryReader, 'listTree' | 'blobs'>;
  revision: string;
  /** The folder of the checkout. */
  directory: string;
  /** The folders of the services that run. */
  folders: readonly string[];
}

/** One sentence for each kind. The content is not fetched, because it would come from other hosts. */
export async function missingContent(checkout: CheckoutAtCommit): Promise<string[]> {
  const { repository, revision, folders } = checkout;
  const entries = await repository.listTree(revision);
  const submodules: string[] = [];
  const attributes: TreeEntry[] = [];
  await eachInTurns(entries, (entry) => {
    if (entry.type === 'commit') submodules.push(entry.path);
    else if (entry.type === 'blob' && path.posix.basename(entry.path) === '.gitattributes')
      attributes.push(entry);
  });
  const pointers = (await usesLfs(repository, attributes))
    ? await lfsPointers(checkout, await filesIn(folders, entries))
    : [];
  return [
    submodules.length > 0
      ? `Submodules are not fetched, so these folders are empty: ${shown(submodules)}. Let the task fetch them, or keep their files in this repository.`
      : '',
    pointers.length > 0
      ? `Git LFS files are not fetched, so these are only pointers: ${shown(pointers)}. Let the task fetch them (git lfs pull), or keep them in git.`
      : '',
  ].filter((sentence) => sentence !== '');
}

async function usesLfs(
  repository: CheckoutAtCommit['repository'],
  attributes: readonly TreeEntry[],
): Promise<boolean> {
  if (attributes.length === 0) return false;
  const contents = await repository.blobs(attributes.map(({ id }) => id));
  return [...contents.values()].some((content) => content.includes('filter=lfs'));
}

/** The regular files in these folders. */
async function filesIn(folders: readonly string[], entries: readonly TreeEntry[]): Promise<TreeEntry[]> {
  const foldersAlong = createPathTree(folders.map((folder) => [folder, true]));
  const isRoot = folders.includes('.');
  const files: TreeEntry[] = [];
  await eachInTurns(entries, (entry) => {
    if (files.length >= MAX_FILES || !entry.mode.startsWith('100')) return;
    if (isRoot || foldersAlong(entry.path).length > 0) files.push(entry);
  });
  return files;
}

async function lfsPointers({ directory }: CheckoutAtCommit, files: readonly TreeEntry[]): Promise<string[]> {
  const found: string[] = [];
  for (let start = 0; start < files.length; start += AT_ONCE) {
    const portion = files.slice(start, start + AT_ONCE);
    const starts = await Promise.all(portion.map((file) => startOf(path.join(directory, file.path))));
    found.push(...portion.filter((_, at) => starts[at] === LFS_POINTER).map((file) => file.path));
  }
  return found;
}

/** Empty if the file cannot be read. */
async function startOf(file: string): Promise<string> {
  const handle = await open(file).catch(() => null);
  if (!handle) return '';
  try {
    const buffer = Buffer.alloc(LFS_POINTER.length);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    return buffer.toString('latin1', 0, bytesRead);
  } catch {
    return '';
  } finally {
    await handle.close().catch(() => undefined);
  }
}

function shown(paths: readonly string[]): string {
  const more = paths.length - SHOWN;
  return paths.slice(0, SHOWN).join(', ') + (more > 0 ? ` and ${more} more` : '');
}
