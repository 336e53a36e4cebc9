/** Questions about commits. Each starts at most two processes, whatever the number of commits asked about. */

import { GitError } from '../../errors.ts';
import { replaceUnseen } from '../../runs/texts/unseen-characters.ts';
import { gitFailure } from '../failure.ts';
import { checkedId, type Git } from '../git.ts';

export type Location = 'missing' | 'off_branch' | 'on_branch';

export interface Commit {
  id: string;
  tree: string;
  /** First line of the message without control characters, at most 300 long. */
  subject: string;
  /** The author's name, likewise. */
  author: string;
}

/** Ids of what is no commit, a tag or a tree for instance, count as missing. */
export async function locate(
  git: Git,
  gitDirectory: string,
  revisions: readonly string[],
  head: string | null,
): Promise<Map<string, Location>> {
  const locations = new Map<string, Location>(revisions.map((revision) => [revision, 'missing']));
  const wellFormed = [...locations.keys()].filter((revision) => /^[0-9a-f]{40}$/.test(revision));
  const types = await objectTypes(git, gitDirectory, wellFormed);
  const commits = wellFormed.filter((revision) => types.get(revision) === 'commit');
  if (commits.length === 0) return locations;
  // What the head does not reach: of the commits asked about, exactly those that are not of the branch.
  const unreached = await idLines(git, gitDirectory, [...commits, ...(head ? [`^${head}`] : [])]);
  for (const revision of commits)
    locations.set(revision, unreached.has(revision) ? 'off_branch' : 'on_branch');
  return locations;
}

/** Throws GitError `unknown_revision` when `revision` is no commit here. */
export async function descendants(
  git: Git,
  gitDirectory: string,
  revision: string,
  head: string | null,
): Promise<Set<string>> {
  await requireType(git, gitDirectory, revision, ['commit']);
  return head ? idLines(git, gitDirectory, [head, `^${revision}`], ['--ancestry-path']) : new Set();
}

/** Throws GitError `unknown_revision` when one of them is no commit here. */
export async function tips(git: Git, gitDirectory: string, revisions: readonly string[]): Promise<string[]> {
  const unique = [...new Set(revisions.map(checkedId))];
  const types = await objectTypes(git, gitDirectory, unique);
  for (const revision of unique) if (types.get(revision) !== 'commit') throw unknownRevision(revision);
  // `id^!` is the commit without all that its parents reach: an ancestor of any other falls out.
  const independent = await idLines(
    git,
    gitDirectory,
    unique.map((revision) => `${revision}^!`),
  );
  return unique.filter((revision) => independent.has(revision));
}

/** Null when the two have no ancestor in common. Of several best ones, git's first. */
export async function mergeBase(
  git: Git,
  gitDirectory: string,
  one: string,
  other: string,
): Promise<string | null> {
  const args = ['merge-base', checkedId(one), checkedId(other)];
  const { exitCode, stdout, stderr } = await git.run(args, { gitDirectory });
  if (exitCode === 1) return null;
  if (exitCode === 0) return checkedId(stdout.toString().trim());
  for (const revision of [one, other]) await requireType(git, gitDirectory, revision, ['commit']);
  throw gitFailure(`Comparing the history of ${one} and ${other} failed`, stderr);
}

export async function commit(git: Git, gitDirectory: string, revision: string): Promise<Commit> {
  await requireType(git, gitDirectory, revision, ['commit']);
  const format = '--format=%T%x00%an%x00%s';
  const output = await git.read(
    `Reading commit ${revision} failed`,
    ['log', '-1', '--encoding=UTF-8', '--no-show-signature', '--no-color', format, revision, '--'],
    { gitDirectory },
  );
  const [tree = '', author = '', subject = ''] = output.toString().split('\0');
  return { id: revision, tree: checkedId(tree), subject: displayable(subject), author: displayable(author) };
}

/** Throws GitError `unknown_revision` unless `revision` is here and of one of the types. */
export async function requireType(
  git: Git,
  gitDirectory: string,
  revision: string,
  types: readonly string[],
): Promise<void> {
  const type = (await objectTypes(git, gitDirectory, [checkedId(revision)])).get(revision);
  if (!type || !types.includes(type)) throw unknownRevision(revision);
}

function unknownRevision(revision: string): GitError {
  return new GitError('unknown_revision', `Commit ${revision} is not in the mirror of the branch.`, {
    nextAction: 'Check that the commit was pushed to the branch.',
  });
}

/** The type of each object that is here. A missing object that git complains about is damage, not absence. */
async function objectTypes(
  git: Git,
  gitDirectory: string,
  ids: readonly string[],
): Promise<Map<string, string>> {
  if (ids.length === 0) return new Map();
  const what = `Looking for commits in ${gitDirectory} failed`;
  const input = ids.map((id) => `${id}\n`).join('');
  const output = await git.run(['cat-file', '--batch-check=%(objectname) %(objecttype)'], {
    gitDirectory,
    input,
  });
  const lines = output.stdout.toString().split('\n').slice(0, -1);
  const found = lines.map((line) => line.split(' ')).filter(([, type]) => type !== 'missing');
  const isDoubtful = found.length < ids.length && output.stderr !== '';
  if (output.exitCode !== 0 || lines.length !== ids.length || isDoubtful)
    throw gitFailure(what, output.stderr);
  return new Map(found.map(([id = '', type = '']) => [id, type]));
}

async function idLines(
  git: Git,
  gitDirectory: string,
  revisions: readonly string[],
  flags: readonly string[] = [],
): Promise<Set<string>> {
  const output = await git.read(
    `Walking the commits of ${gitDirectory} failed`,
    ['rev-list', ...flags, '--stdin'],
    {
      gitDirectory,
      input: revisions.map((revision) => `${revision}\n`).join(''),
    },
  );
  return new Set(output.toString().split('\n').slice(0, -1));
}

/** Without control characters and without those that nobody sees. */
export function displayable(text: string): string {
  return replaceUnseen(text, '').trim().slice(0, 300);
}
