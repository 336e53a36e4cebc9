/** Makes pushes of the history of any repository: the same trees with one rules file, in one line of commits. */

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { git, gits } from '../support/git.ts';

const RULES_FILE = '.iac-runner.yaml';

export interface FieldPush {
  before: string;
  after: string;
  /** The commit of the original history. */
  original: string;
}

export interface FieldHistory {
  /** The commit that counts as deployed before the first push. */
  start: string;
  pushes: FieldPush[];
}

interface Wanted {
  /** A bare repository, or the `.git` folder of a clone. It is only read. */
  source: string;
  /** The path of the rules file. */
  rules: string;
  /** The last commit. */
  end: string;
  pushes: number;
  commitsPerPush: number;
}

/** Creates the commits in the bare repository `target`, which borrows the objects of the source. No branch moves. */
export async function createHistory(target: string, wanted: Wanted): Promise<FieldHistory> {
  const { source, pushes, commitsPerPush } = wanted;
  const objects = await git(source, ['rev-parse', '--path-format=absolute', '--git-path', 'objects']);
  await writeFile(join(target, 'objects/info/alternates'), `${objects}\n`);
  const rules = await git(target, ['hash-object', '-w', '--stdin'], await readFile(wanted.rules, 'utf8'));
  const count = pushes * commitsPerPush + 1;
  const listed = await git(source, ['rev-list', '--first-parent', `--max-count=${count}`, wanted.end]);
  const originals = listed.split('\n').reverse();
  if (originals.length < count)
    throw new Error(`The history has only ${originals.length} commits in one line.`);
  const commits: string[] = [];
  for (const original of originals) {
    commits.push(await gits(target, COMMIT, [original, rules, RULES_FILE, commits.at(-1) ?? '']));
  }
  return {
    start: commits[0] ?? '',
    pushes: Array.from({ length: pushes }, (_, index) => ({
      before: commits[index * commitsPerPush] ?? '',
      after: commits[(index + 1) * commitsPerPush] ?? '',
      original: originals[(index + 1) * commitsPerPush] ?? '',
    })),
  };
}

/** Prints a commit with the tree of $1, the blob $2 at the path $3, and the parent $4 if there is one. */
const COMMIT = `
export GIT_INDEX_FILE="$PWD/field-index"
git read-tree "$1"
git update-index --add --cacheinfo "100644,$2,$3"
tree=$(git write-tree --missing-ok)
git log -1 --format=%B "$1" | git commit-tree "$tree" \${4:+-p "$4"}`;
