/** Questions about commits. Each starts at most two processes, for any number of commits. */

import { GitError } from '../../errors.ts';
import { replaceUnseen } from '../../runs/texts/unseen-characters.ts';
import { gitFailure } from '../failure.ts';
import { checkedId, type RepositoryGit } from '../git.ts';

export type Location = 'missing' | 'off_branch' | 'on_branch';

export interface Commit {
  id: string;
  tree: string;
  /** First line of the message without control characters, at most 300 long. */
  subject: string;
  /** The author's name, cut in the same way. */
  author: string;
}

/** Says where each commit is. An id of something else, such as a tag or a tree, counts as missing. */
export async function locate(
  repository: RepositoryGit,
  revisions: readonly string[],
  heads: readonly string[],
): Promise<Map<string, Location>> {
  const locations = new Map<string, Location>(revisions.map((revision) => [revision, 'missing']));
  const wellFormed = [...locations.keys()].filter((revision) => /^[0-9a-f]{40}$/.test(revision));
  const types = await objectTypes(repository, wellFormed);
  const commits = wellFormed.filter((revision) => types.get(revision) === 'commit');
  if (commits.length === 0) return locations;
  // git lists everything that no head reaches: among the given commits, those that are not on the branch.
  const unreached = await idLines(repository, [...commits, ...heads.map((head) => `^${head}`)]);
  for (const revision of commits)
    locations.set(revision, unreached.has(revision) ? 'off_branch' : 'on_branch');
  return locations;
}

/** The ids of the objects here that begin with these hexadecimal digits, of which there must be at least four. */
export async function idsBeginningWith({ read }: RepositoryGit, digits: string): Promise<string[]> {
  const output = await read(`Looking for ${digits} failed`, ['rev-parse', `--disambiguate=${digits}`]);
  return output.toString().split('\n').slice(0, -1);
}

/** Throws GitError `unknown_revision` if `revision` is no commit here. */
export async function descendants(
  repository: RepositoryGit,
  revision: string,
  head: string | null,
): Promise<Set<string>> {
  await requireType(repository, revision, ['commit']);
  return head ? idLines(repository, [head, `^${revision}`], ['--ancestry-path']) : new Set();
}

/** Throws GitError `unknown_revision` if one of them is no commit here. */
export async function tips(repository: RepositoryGit, revisions: readonly string[]): Promise<string[]> {
  const unique = [...new Set(revisions.map(checkedId))];
  const types = await objectTypes(repository, unique);
  for (const revision of unique) if (types.get(revision) !== 'commit') throw unknownRevision(revision);
  // `id^!` means the commit without all that its parents reach, so an ancestor of any other one is left out.
  const independent = await idLines(
    repository,
    unique.map((revision) => `${revision}^!`),
  );
  return unique.filter((revision) => independent.has(revision));
}

/** Null if the two have no ancestor in common. If there are several best ones, the first that git lists. */
export async function mergeBase(
  repository: RepositoryGit,
  one: string,
  other: string,
): Promise<string | null> {
  const { exitCode, stdout, stderr } = await repository.run(['merge-base', checkedId(one), checkedId(other)]);
  if (exitCode === 1) return null;
  if (exitCode === 0) return checkedId(stdout.toString().trim());
  for (const revision of [one, other]) await requireType(repository, revision, ['commit']);
  throw gitFailure(`Comparing the history of ${one} and ${other} failed`, stderr);
}

/** The commits that `revision` has and none of `without` has, the newest first, at most `limit`. */
export async function log(
  repository: RepositoryGit,
  revision: string,
  without: readonly string[],
  limit: number,
): Promise<Pick<Commit, 'id' | 'subject'>[]> {
  await requireType(repository, revision, ['commit']);
  const known = await objectTypes(repository, without.map(checkedId));
  const excluded = without.filter((id) => known.get(id) === 'commit').map((id) => `^${id}`);
  const flags = ['--topo-order', `--max-count=${limit}`, '--format=%H%x00%s%x00%x00'];
  const args = ['log', ...PLAIN_LOG, ...flags, revision, ...excluded, '--'];
  const output = await repository.read(`Listing the commits before ${revision} failed`, args);
  const records = output.toString().split('\0\0').slice(0, -1);
  return records.map((record) => {
    const [id = '', subject = ''] = record.trimStart().split('\0');
    return { id: checkedId(id), subject: displayable(subject) };
  });
}

/** Nothing that a setting may add is printed. */
const PLAIN_LOG = ['--encoding=UTF-8', '--no-show-signature', '--no-color'] as const;

/** The `git log` that prints one commit in a format. */
export const LOG_ONE = ['log', '-1', ...PLAIN_LOG] as const;

export async function commit(repository: RepositoryGit, revision: string): Promise<Commit> {
  await requireType(repository, revision, ['commit']);
  const args = [...LOG_ONE, '--format=%T%x00%an%x00%s', revision, '--'];
  const output = await repository.read(`Reading commit ${revision} failed`, args);
  const [tree = '', author = '', subject = ''] = output.toString().split('\0');
  return { id: revision, tree: checkedId(tree), subject: displayable(subject), author: displayable(author) };
}

/** Throws GitError `unknown_revision` unless `revision` is here and of one of the types. */
export async function requireType(
  repository: RepositoryGit,
  revision: string,
  types: readonly string[],
): Promise<void> {
  const type = (await objectTypes(repository, [checkedId(revision)])).get(revision);
  if (!type || !types.includes(type)) throw unknownRevision(revision);
}

function unknownRevision(revision: string): GitError {
  return new GitError('unknown_revision', `Commit ${revision} is not in the mirror of the branch.`, {
    nextAction: 'Check that the commit was pushed to the branch.',
  });
}

/** The type of each object that is here. If git complains about a missing object, that is damage, not absence. */
async function objectTypes(
  { directory, run }: RepositoryGit,
  ids: readonly string[],
): Promise<Map<string, string>> {
  if (ids.length === 0) return new Map();
  const input = ids.map((id) => `${id}\n`).join('');
  const output = await run(['cat-file', '--batch-check=%(objectname) %(objecttype)'], { input });
  const lines = output.stdout.toString().split('\n').slice(0, -1);
  const found = lines.map((line) => line.split(' ')).filter(([, type]) => type !== 'missing');
  const isDoubtful = found.length < ids.length && output.stderr !== '';
  if (output.exitCode !== 0 || lines.length !== ids.length || isDoubtful)
    throw gitFailure(`Looking for commits in ${directory} failed`, output.stderr);
  return new Map(found.map(([id = '', type = '']) => [id, type]));
}

async function idLines(
  { directory, read }: RepositoryGit,
  revisions: readonly string[],
  flags: readonly string[] = [],
): Promise<Set<string>> {
  const input = revisions.map((revision) => `${revision}\n`).join('');
  const what = `Walking the commits of ${directory} failed`;
  const output = await read(what, ['rev-list', ...flags, '--stdin'], { input });
  return new Set(output.toString().split('\n').slice(0, -1));
}

/** Removes control characters and characters that nobody sees, and cuts the text. */
export function displayable(text: string): string {
  return replaceUnseen(text, '').trim().slice(0, 300);
}
