/** Objects by id: the trees of commits and the content of files, one process for any number. */

import { GitError } from '../errors.ts';
import { checkedId, type Git } from './git.ts';

/** Commit id → id of its root tree; what is no commit here is left out. */
export async function rootTrees(
  git: Git,
  gitDirectory: string,
  revisions: readonly string[],
): Promise<Map<string, string>> {
  if (revisions.length === 0) return new Map();
  const input = revisions.map((revision) => `${checkedId(revision)}^{tree}\n`).join('');
  const args = ['cat-file', '--batch-check=%(objectname)'];
  const stdout = await git.read('Reading trees failed', args, { gitDirectory, input });
  const lines = stdout.toString().split('\n');
  return new Map(
    revisions.flatMap((revision, index) => {
      const tree = lines[index] ?? '';
      return /^[0-9a-f]{40}$/.test(tree) ? [[revision, tree] as const] : [];
    }),
  );
}

/** Blob id → content. Throws GitError `broken` when one is not here. */
export async function blobs(
  git: Git,
  gitDirectory: string,
  ids: readonly string[],
): Promise<Map<string, Buffer>> {
  const unique = [...new Set(ids.map(checkedId))];
  const contents = new Map<string, Buffer>();
  if (unique.length === 0) return contents;
  const input = unique.map((id) => `${id}\n`).join('');
  const stdout = await git.read('Reading files failed', ['cat-file', '--batch'], { gitDirectory, input });
  let offset = 0;
  for (const id of unique) {
    // `<id> SP <type> SP <size> LF <content> LF` (git-cat-file(1)).
    const end = stdout.indexOf('\n', offset);
    const [, type, size] = stdout.toString('latin1', offset, end).split(' ');
    if (end === -1 || type !== 'blob')
      throw new GitError('broken', `The file ${id} is not in ${gitDirectory}.`);
    contents.set(id, stdout.subarray(end + 1, end + 1 + Number(size)));
    offset = end + 1 + Number(size) + 1;
  }
  return contents;
}
