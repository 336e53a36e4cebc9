/** Finds commits of a remote by any name they have there, and fetches them into a mirror that many runs share. */

import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { GitError } from '../../errors.ts';
import { gitFailure, isMissingOnRemote } from '../failure.ts';
import { FETCH_FLAGS, type RepositoryGit } from '../git.ts';
import { displayable, LOG_ONE } from '../read/history.ts';
import { prepareMirror, remove } from './repository-directory.ts';

/** Fetched commits keep a name, so that the next fetch can build on them. The oldest names are removed. */
const MAX_REFS = 200;
const NAMESPACE = 'fetched';

export interface NamedCommit {
  commit: string;
  /** The first line of its message, for a person. */
  subject: string;
}

export interface RemoteMirror extends RepositoryGit {
  /** Called when the remote has answered to our credentials. */
  onAnswer(): void;
}

/**
 * Fetches a branch, else a tag, else the commit of an id, whole or its first seven digits or more; `HEAD` and full
 * names (`refs/pull/7/head`) too. Only the holder of the mirror's lock may call it. Does not ask the remote for a whole
 * id that is here already. Throws GitError `unknown_revision` for a name that the remote does not have.
 */
export async function fetchCommit(mirror: RemoteMirror, ref: string): Promise<NamedCommit> {
  await prepareMirror(mirror.directory, 'none', NAMESPACE);
  const found = await fetchByName(mirror, ref);
  await boundRefs(mirror.directory);
  if (found !== null) return found;
  throw new GitError('unknown_revision', `${ref} is not a branch, tag or commit of ${mirror.remote.url}.`, {
    nextAction: 'Check its name, and that it was pushed.',
  });
}

/** Returns the commit of a whole id if the mirror has it. */
export async function knownCommit(mirror: RemoteMirror, ref: string): Promise<NamedCommit | null> {
  const id = wholeId(ref);
  return id !== null && (await typeOf(mirror, id)) === 'commit' ? describeCommit(mirror, id) : null;
}

/** Asks the remote for anything at all. Throws GitError unless it answers to our credentials. */
export async function proveAccess({ remote: { url }, read, onAnswer }: RemoteMirror): Promise<void> {
  const args = ['ls-remote', '--quiet', '--heads', '--', url];
  await read(`Asking ${url} failed`, args, { remote: true });
  onAnswer();
}

async function fetchByName(mirror: RemoteMirror, ref: string): Promise<NamedCommit | null> {
  const id = wholeId(ref);
  if (id !== null) return fetchById(mirror, id);
  for (const name of fullNames(ref)) {
    const local = localName(name);
    if (await fetchRefs(mirror, [`+${name}:${local}`])) return describeCommit(mirror, local);
  }
  if (!/^[0-9a-f]{7,39}$/i.test(ref)) return null;
  await fetchEverything(mirror);
  return commitBeginningWith(mirror, ref.toLowerCase());
}

async function fetchById(mirror: RemoteMirror, id: string): Promise<NamedCommit | null> {
  const type = await typeOf(mirror, id);
  // git would not ask the remote for an object that is here already.
  if (type !== null) return type === 'commit' ? describeCommit(mirror, id) : null;
  const local = localName(id);
  if (await fetchRefs(mirror, [`+${id}:${local}`])) return describeCommit(mirror, local);
  // Not every server gives commits by id (uploadpack.allowReachableSHA1InWant, git-config(1)).
  await fetchEverything(mirror);
  return (await typeOf(mirror, id)) === 'commit' ? describeCommit(mirror, id) : null;
}

/** A branch comes before a tag of the same name, as for `git clone --branch`. */
function fullNames(ref: string): string[] {
  return ref === 'HEAD' || ref.startsWith('refs/') ? [ref] : [`refs/heads/${ref}`, `refs/tags/${ref}`];
}

/** A digest avoids the trouble of names: `a` beside `a/b`, odd characters, upper and lower case. */
function localName(name: string): string {
  return `refs/${NAMESPACE}/${createHash('sha256').update(name).digest('hex').slice(0, 32)}`;
}

/** git cannot have a branch `a` beside an old branch `a/b`. Every prepareMirror removes these refs, so that none is old. */
async function fetchEverything(mirror: RemoteMirror): Promise<void> {
  await fetchRefs(mirror, ['+refs/heads/*:refs/all/heads/*', '+refs/tags/*:refs/all/tags/*']);
}

/** False if the remote has no such thing. */
async function fetchRefs({ remote, run, onAnswer }: RemoteMirror, refspecs: string[]): Promise<boolean> {
  const { url, advice } = remote;
  const { exitCode, stderr } = await run(['fetch', ...FETCH_FLAGS, '--', url, ...refspecs], { remote: true });
  const isThere = exitCode === 0;
  if (!isThere && !isMissingOnRemote(stderr)) throw gitFailure(`Fetching from ${url} failed`, stderr, advice);
  onAnswer();
  return isThere;
}

/** Null for a name that leads to no commit, such as a tag on a file. `revision` is a whole id or a local name. */
async function describeCommit(
  { directory, run }: RemoteMirror,
  revision: string,
): Promise<NamedCommit | null> {
  const output = await run([...LOG_ONE, '--format=%H%x00%s', `${revision}^{commit}`, '--']);
  if (/expected commit type/.test(output.stderr)) return null;
  const [commit = '', subject = ''] = output.stdout.toString().split('\0');
  if (output.exitCode === 0 && /^[0-9a-f]{40}$/.test(commit))
    return { commit, subject: displayable(subject) };
  throw gitFailure(`Reading ${revision} in ${directory} failed`, output.stderr);
}

async function commitBeginningWith(mirror: RemoteMirror, digits: string): Promise<NamedCommit | null> {
  const args = ['rev-parse', `--disambiguate=${digits}`];
  const listed = await mirror.read(`Looking for ${digits} failed`, args);
  const ids = listed.toString().split('\n').slice(0, -1);
  const types = await Promise.all(ids.slice(0, 16).map((id) => typeOf(mirror, id)));
  const commits = ids.filter((_, index) => types[index] === 'commit');
  if (commits.length > 1) {
    throw new GitError('unknown_revision', `Several commits of ${mirror.remote.url} begin with ${digits}.`, {
      nextAction: 'Give more digits.',
    });
  }
  return commits[0] === undefined ? null : describeCommit(mirror, commits[0]);
}

async function typeOf({ run }: RemoteMirror, id: string): Promise<string | null> {
  const output = await run(['cat-file', '--batch-check=%(objecttype)'], { input: `${id}\n` });
  return /^(commit|tag|tree|blob)\n$/.exec(output.stdout.toString())?.[1] ?? null;
}

function wholeId(ref: string): string | null {
  return /^[0-9a-f]{40}$/i.test(ref) ? ref.toLowerCase() : null;
}

/** The objects stay. Without a name, the next fetch takes only a little longer. */
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
