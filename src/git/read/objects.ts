/** Reads objects by id: the trees of commits and the content of files. One process reads any number. */

import { GitError } from '../../errors.ts';
import { checkedId, type RepositoryGit } from '../git.ts';
import { type TreeEntry, typeOfMode } from './trees.ts';

/** Commit id → id of its root tree. An id that is no commit here is left out. */
export async function rootTrees(
  repository: RepositoryGit,
  revisions: readonly string[],
): Promise<Map<string, string>> {
  if (revisions.length === 0) return new Map();
  const input = revisions.map((revision) => `${checkedId(revision)}^{tree}\n`).join('');
  const args = ['cat-file', '--batch-check=%(objectname)'];
  const stdout = await repository.read('Reading trees failed', args, { input });
  const lines = stdout.toString().split('\n');
  return new Map(
    revisions.flatMap((revision, index) => {
      const tree = lines[index] ?? '';
      return /^[0-9a-f]{40}$/.test(tree) ? [[revision, tree] as const] : [];
    }),
  );
}

/** Blob id → content. Throws GitError `broken` if one is not here. */
export async function blobs(repository: RepositoryGit, ids: readonly string[]): Promise<Map<string, Buffer>> {
  return contents(repository, 'blob', ids);
}

/** Tree id → those of its entries that have one of the names. Throws GitError `broken` if a tree is not here. */
export async function filesIn(
  repository: RepositoryGit,
  trees: readonly string[],
  names: ReadonlySet<string>,
): Promise<Map<string, TreeEntry[]>> {
  const found = new Map<string, TreeEntry[]>();
  for (const [id, content] of await contents(repository, 'tree', trees)) {
    found.set(id, parseTree(id, content, names));
  }
  return found;
}

/**
 * Path of a link in a commit → id of the file of the same commit that it leads to, over any number of links. A
 * link that leads to no file, in a circle or out of the repository is left out.
 */
export async function followLinks(
  repository: RepositoryGit,
  revision: string,
  paths: readonly string[],
): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  if (paths.length === 0) return found;
  const input = paths.map((path) => `${checkedId(revision)}:${checkedLine(path)}\n`).join('');
  const args = ['cat-file', '--batch-check=%(objecttype) %(objectname)', '--follow-symlinks'];
  const stdout = await repository.read('Following links failed', args, { input });
  let offset = 0;
  for (const path of paths) {
    const end = stdout.indexOf('\n', offset);
    const line = stdout.toString('utf8', offset, end);
    const [, id] = /^blob ([0-9a-f]{40})$/.exec(line) ?? [];
    if (id !== undefined) found.set(path, id);
    // If a link leads to no file, a second line of this many bytes says where it leads.
    const [, bytes] = /^(?:symlink|dangling|loop|notdir) (\d+)$/.exec(line) ?? [];
    offset = end + 1 + (bytes === undefined ? 0 : Number(bytes) + 1);
  }
  return found;
}

/** git reads one question from each line. */
function checkedLine(path: string): string {
  if (path.includes('\n')) throw new GitError('broken', `The path ${JSON.stringify(path)} has two lines.`);
  return path;
}

async function contents(
  repository: RepositoryGit,
  type: 'blob' | 'tree',
  ids: readonly string[],
): Promise<Map<string, Buffer>> {
  const unique = [...new Set(ids.map(checkedId))];
  const found = new Map<string, Buffer>();
  if (unique.length === 0) return found;
  const input = unique.map((id) => `${id}\n`).join('');
  const args = ['cat-file', '--batch', '--buffer'];
  const stdout = await repository.read(`Reading ${type}s failed`, args, { input });
  let offset = 0;
  for (const id of unique) {
    // `<id> SP <type> SP <size> LF <content> LF` (git-cat-file(1)).
    const end = stdout.indexOf('\n', offset);
    const [, actual, size] = stdout.toString('latin1', offset, end).split(' ');
    if (end === -1 || actual !== type)
      throw new GitError('broken', `The ${type} ${id} is not in ${repository.directory}.`);
    found.set(id, stdout.subarray(end + 1, end + 1 + Number(size)));
    offset = end + 1 + Number(size) + 1;
  }
  return found;
}

/** `<mode> SP <name> NUL <20 bytes of id>` for each entry; a folder's mode has five digits. */
function parseTree(tree: string, content: Buffer, names: ReadonlySet<string>): TreeEntry[] {
  const entries: TreeEntry[] = [];
  for (let offset = 0; offset < content.length; ) {
    const space = content.indexOf(0x20, offset);
    const nul = content.indexOf(0, space);
    // git stores what is pushed without a look into it. Without this check, a damaged tree would be read for ever.
    if (space === -1 || nul === -1 || nul + 21 > content.length) {
      throw new GitError('broken', `The tree ${tree} is malformed.`);
    }
    const path = content.toString('utf8', space + 1, nul);
    if (names.has(path)) {
      const mode = content.toString('latin1', offset, space).padStart(6, '0');
      const id = content.toString('hex', nul + 1, nul + 21);
      entries.push({ mode, type: typeOfMode(mode), id, path });
    }
    offset = nul + 21;
  }
  return entries;
}
