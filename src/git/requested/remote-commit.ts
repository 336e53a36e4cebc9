/** Commits of a remote by any name they have there, fetched into a mirror that many runs share. */

import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { GitError } from '../../errors.ts';
import { gitFailure, isMissingOnRemote } from '../failure.ts';
import { FETCH_FLAGS, type Git } from '../git.ts';
import { displayable } from '../read/history.ts';
import { prepareMirror, remove } from './repository-directory.ts';

/** What was fetched stays named, so that the next fetch has something to build on; the oldest names go. */
const MAX_REFS = 200;
const NAMESPACE = 'fetched';

export interface NamedCommit {
  commit: string;
  /** The first line of its message, for a person. */
  subject: string;
}

export interface MirrorPlace {
  git: Git;
  /** The mirror's git directory. */
  directory: string;
  signal: AbortSignal | undefined;
  /** Called when the remote has answered to our credentials. */
  onAnswer(): void;
}

/**
 * Fetches a branch, else a tag, else the commit of an id, whole or its first seven digits or more; `HEAD` and full
 * names (`refs/pull/7/head`) too. For the holder of the mirror's lock. The remote is not asked for a whole id that is
 * here already. Throws GitError `unknown_revision` for what the remote does not have.
 */
export async function fetchCommit(place: MirrorPlace, ref: string): Promise<NamedCommit> {
  await prepareMirror(place.directory, 'none', NAMESPACE);
  const found = await fetchByName(place, ref);
  await boundRefs(place.directory);
  if (found !== null) return found;
  throw new GitError(
    'unknown_revision',
    `${ref} is not a branch, tag or commit of ${place.git.remote.url}.`,
    {
      nextAction: 'Check its name, and that it was pushed.',
    },
  );
}

/** The commit of a whole id, when the mirror has it. */
export async function knownCommit(place: MirrorPlace, ref: string): Promise<NamedCommit | null> {
  const id = wholeId(ref);
  return id !== null && (await typeOf(place, id)) === 'commit' ? describeCommit(place, id) : null;
}

/** Asks the remote for anything at all. Throws GitError unless it answers to our credentials. */
export async function proveAccess({ git, directory, signal, onAnswer }: MirrorPlace): Promise<void> {
  const { url } = git.remote;
  await git.read(`Asking ${url} failed`, ['ls-remote', '--quiet', '--heads', '--', url], {
    gitDirectory: directory,
    remote: true,
    signal,
  });
  onAnswer();
}

async function fetchByName(place: MirrorPlace, ref: string): Promise<NamedCommit | null> {
  const id = wholeId(ref);
  if (id !== null) return fetchById(place, id);
  for (const name of fullNames(ref)) {
    const local = localName(name);
    if (await fetchRefs(place, [`+${name}:${local}`])) return describeCommit(place, local);
  }
  if (!/^[0-9a-f]{7,39}$/i.test(ref)) return null;
  await fetchEverything(place);
  return commitBeginningWith(place, ref.toLowerCase());
}

async function fetchById(place: MirrorPlace, id: string): Promise<NamedCommit | null> {
  const type = await typeOf(place, id);
  // git would not ask the remote for what is here already.
  if (type !== null) return type === 'commit' ? describeCommit(place, id) : null;
  const local = localName(id);
  if (await fetchRefs(place, [`+${id}:${local}`])) return describeCommit(place, local);
  // Not every server gives commits by id (uploadpack.allowReachableSHA1InWant, git-config(1)).
  await fetchEverything(place);
  return (await typeOf(place, id)) === 'commit' ? describeCommit(place, id) : null;
}

/** A branch comes before a tag of the same name, as for `git clone --branch`. */
function fullNames(ref: string): string[] {
  return ref === 'HEAD' || ref.startsWith('refs/') ? [ref] : [`refs/heads/${ref}`, `refs/tags/${ref}`];
}

/** A digest has none of the trouble of names: `a` beside `a/b`, odd characters, upper and lower case. */
function localName(name: string): string {
  return `refs/${NAMESPACE}/${createHash('sha256').update(name).digest('hex').slice(0, 32)}`;
}

/** Two names that cannot be one for git: a branch `a/b` left over from before `a` is gone with every prepareMirror. */
async function fetchEverything(place: MirrorPlace): Promise<void> {
  await fetchRefs(place, ['+refs/heads/*:refs/all/heads/*', '+refs/tags/*:refs/all/tags/*']);
}

/** False when the remote has no such thing. */
async function fetchRefs(
  { git, directory, signal, onAnswer }: MirrorPlace,
  refspecs: string[],
): Promise<boolean> {
  const { url, advice } = git.remote;
  const args = ['fetch', ...FETCH_FLAGS, '--', url, ...refspecs];
  const { exitCode, stderr } = await git.run(args, { gitDirectory: directory, remote: true, signal });
  const isThere = exitCode === 0;
  if (!isThere && !isMissingOnRemote(stderr)) throw gitFailure(`Fetching from ${url} failed`, stderr, advice);
  onAnswer();
  return isThere;
}

/** Null for what leads to no commit, such as a tag on a file. `revision` is a whole id or a name of ours. */
async function describeCommit(
  { git, directory, signal }: MirrorPlace,
  revision: string,
): Promise<NamedCommit | null> {
  const args = ['log', '-1', '--encoding=UTF-8', '--no-show-signature', '--no-color', '--format=%H%x00%s'];
  const output = await git.run([...args, `${revision}^{commit}`, '--'], { gitDirectory: directory, signal });
  if (/expected commit type/.test(output.stderr)) return null;
  const [commit = '', subject = ''] = output.stdout.toString().split('\0');
  if (output.exitCode === 0 && /^[0-9a-f]{40}$/.test(commit))
    return { commit, subject: displayable(subject) };
  throw gitFailure(`Reading ${revision} in ${directory} failed`, output.stderr);
}

async function commitBeginningWith(place: MirrorPlace, digits: string): Promise<NamedCommit | null> {
  const { git, directory, signal } = place;
  const args = ['rev-parse', `--disambiguate=${digits}`];
  const listed = await git.read(`Looking for ${digits} failed`, args, { gitDirectory: directory, signal });
  const ids = listed.toString().split('\n').slice(0, -1);
  const types = await Promise.all(ids.slice(0, 16).map((id) => typeOf(place, id)));
  const commits = ids.filter((_, index) => types[index] === 'commit');
  if (commits.length > 1) {
    throw new GitError('unknown_revision', `Several commits of ${git.remote.url} begin with ${digits}.`, {
      nextAction: 'Give more digits.',
    });
  }
  return commits[0] === undefined ? null : describeCommit(place, commits[0]);
}

async function typeOf({ git, directory, signal }: MirrorPlace, id: string): Promise<string | null> {
  const args = ['cat-file', '--batch-check=%(objecttype)'];
  const output = await git.run(args, { gitDirectory: directory, input: `${id}\n`, signal });
  return /^(commit|tag|tree|blob)\n$/.exec(output.stdout.toString())?.[1] ?? null;
}

function wholeId(ref: string): string | null {
  return /^[0-9a-f]{40}$/i.test(ref) ? ref.toLowerCase() : null;
}

/** The objects stay: without a name only the next fetch is a little longer. */
async function boundRefs(directory: string): Promise<void> {
  const folder = join(directory, 'refs', NAMESPACE);
  const names = await readdir(folder);
  if (names.length <= MAX_REFS) return;
  const aged = await Promise.all(
    names.map(async (name) => ({
      path: join(folder, name),
      changedAt: (await stat(join(folder, name))).mtimeMs,
    })),
  );
  aged.sort((one, other) => other.changedAt - one.changedAt);
  for (const { path } of aged.slice(MAX_REFS)) await remove(path);
}
