/** Lists the entries of trees and the differences between trees, with one git process each. Names are never quoted. */

import { randomUUID } from 'node:crypto';
import { GitError } from '../../errors.ts';
import { gitFailure } from '../failure.ts';
import { checkedId, type RepositoryGit } from '../git.ts';
import { requireType } from './history.ts';

export interface TreeEntry {
  /** Six octal digits: 040000 folder, 100644 file, 100755 executable, 120000 symbolic link, 160000 submodule. */
  mode: string;
  type: 'tree' | 'blob' | 'commit';
  id: string;
  /** The path from the root, with slashes. It may contain all characters but NUL. Bytes that are not UTF-8 become U+FFFD. */
  path: string;
}

export interface TreePair {
  from: string;
  to: string;
}

export const EMPTY_TREE = '4b825dc642cb6eb9a060e54bf8d69288fbee4904';

/** Lists everything in a commit or tree. Throws GitError `unknown_revision` if `revision` is no commit or tree here. */
export async function listTree(
  repository: RepositoryGit,
  revision: string,
  paths: readonly string[] = [],
): Promise<TreeEntry[]> {
  return list(repository, revision, paths, ['-r', '-t']);
}

/** Lists only the entries at `paths`. A path that ends with a slash means the entries directly in it. Throws like listTree. */
export async function listLevel(
  repository: RepositoryGit,
  revision: string,
  paths: readonly string[],
): Promise<TreeEntry[]> {
  return list(repository, revision, paths);
}

async function list(
  repository: RepositoryGit,
  revision: string,
  paths: readonly string[],
  flags: readonly string[] = [],
): Promise<TreeEntry[]> {
  const args = ['ls-tree', ...flags, '-z', '--full-tree', checkedId(revision), '--', ...paths];
  const output = await repository.run(args);
  if (output.exitCode !== 0) {
    await requireType(repository, revision, ['commit', 'tree']);
    throw gitFailure(`Listing ${revision} failed`, output.stderr);
  }
  return output.stdout.toString().split('\0').slice(0, -1).map(parseEntry);
}

/** `<mode> SP <type> SP <id> TAB <path>` (git-ls-tree(1)); mode has six digits and id forty. */
function parseEntry(record: string): TreeEntry {
  const tab = record.indexOf('\t');
  const mode = record.slice(0, 6);
  return { mode, type: typeOfMode(mode), id: record.slice(tab - 40, tab), path: record.slice(tab + 1) };
}

/** `mode` has six octal digits. */
export function typeOfMode(mode: string): TreeEntry['type'] {
  return mode === '040000' ? 'tree' : mode === '160000' ? 'commit' : 'blob';
}

/**
 * Lists the paths that differ. A rename is listed as both of its paths. Takes only tree ids, because diff-tree would read
 * two commits as a commit with its parent. Throws GitError `broken` if the inside of a tree is damaged.
 */
export async function changedPaths(
  repository: RepositoryGit,
  pairs: readonly TreePair[],
): Promise<(string[] | null)[]> {
  if (pairs.length === 0) return [];
  // diff-tree --stdin echoes a line that is no object id. Such a line before each pair shows where its answer begins. It
  // is random, because a pushed file may have any name.
  const separator = `pair ${randomUUID()}\n`;
  const input = pairs.map(({ from, to }) => `${separator}${checkedId(from)} ${checkedId(to)}\n`).join('');
  const args = ['diff-tree', '--stdin', '-r', '-z', '--no-renames', '--name-only'];
  const stdout = await repository.read('Comparing trees failed', args, { input });
  const [first, ...answers] = stdout.toString().split(separator);
  if (first !== '' || answers.length !== pairs.length)
    throw new GitError('broken', 'git diff-tree lost an answer.');
  return pairs.map((pair, index) => parseAnswer(pair, answers[index] ?? ''));
}

/** For a missing tree, git prints nothing. Otherwise it prints a line with both ids, and then each path, ended by NUL. */
function parseAnswer({ from, to }: TreePair, answer: string): string[] | null {
  if (answer === '') return null;
  const heading = `${from} ${to}\n`;
  if (!answer.startsWith(heading)) throw new GitError('unknown_revision', `${from} or ${to} is not a tree.`);
  return answer.slice(heading.length).split('\0').slice(0, -1);
}
