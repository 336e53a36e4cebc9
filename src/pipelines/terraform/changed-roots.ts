/** The root modules that a pull request changes: as its rules list them, or found by their files. */

import { posix } from 'node:path';
import { RunnerError } from '../../errors.ts';
import { eachInTurns } from '../../event-loop.ts';
import type { RepositoryReader } from '../../git/read/repository-reader.ts';
import type { RemoteRepository } from '../../git/requested/remote-repositories.ts';
import type { PlanRoot } from '../../runs/plan-comment.ts';
import { loadRules } from '../rules/load-rules.ts';
import type { Rules } from '../rules/service-rules.ts';

export interface ChangedRootsQuestion {
  repository: RepositoryReader;
  /** Full commit id of the pull request's head. */
  head: string;
  /** The commit that it branched off from, or null if there is none. */
  base?: string | null;
  /** Paths that it changes. */
  changed: readonly string[];
}

export interface ChangedRoots {
  roots: PlanRoot[];
  /** What is changed and not planned, or cannot be: a sentence each, without its full stop. */
  remarks: string[];
}

/** Files of the language, not of tests. */
const SOURCE_FILE = /\.(tf|tofu)(\.json)?$/;
const VARIABLES_FILE = /\.tfvars(\.json)?$/;
/** A call of a module of this repository. Only blanks of the same line are skipped: white space of many lines is not. */
const LOCAL_SOURCE = /(?:^|[{,])[ \t]*"?source"?[ \t]*[=:][ \t]*"(\.\.?\/[^"\n]{0,999}|\.\.?)"/gm;
/** Any path that leads out of the folder, as far as it is written out. */
const OUTSIDE_PATH = /(?<![\w.-])(\.\.\/[^\s"'`$%{}()[\],;]{0,999})(\$?)/g;
const BACKEND = /^[ \t]*(?:backend[ \t]+"|cloud[ \t]*\{)/m;
/** Nobody writes a longer file by hand; the rest of one is not looked at. */
const MAX_FILE_CHARACTERS = 1024 * 1024;
/** More references in one file are not followed. */
const MAX_REFERENCES = 1_000;
const MAX_PATH_CHARACTERS = 4_096;
const MAX_REMARKS = 10;

interface Folder {
  path: string;
  /** Folders of the modules it calls. */
  calls: string[];
  /** Files and folders elsewhere that its files name. */
  reads: Set<string>;
  hasBackend: boolean;
}

type Folders = ReadonlyMap<string, Folder>;

/**
 * In the order of their paths. A folder with .tf or .tofu files is a root when it has a backend, or when no other
 * folder calls it as a module and it is not below a folder named `modules`. A root is changed when a file is that
 * lies closest to it or to a module that it calls, or that one of them names by a path with "..". Throws RunnerError
 * for rules that cannot be read.
 */
export async function changedRoots(question: ChangedRootsQuestion): Promise<ChangedRoots> {
  const { repository, head, changed } = question;
  const { rules, problems } = await loadRules(repository, head, null);
  const [problem] = problems;
  if (problem !== undefined) throw new RunnerError(problem);
  const folders = await readFolders(repository, head);
  const known = rootsBy(rules, folders);
  const affected = await affectedBy(folders, changed);
  const missing = known.filter(({ directory }) => !folders.has(directory));
  const removed = await removedRoots(question, folders);
  const listed = new Set(removed);
  return {
    roots: known
      .filter(({ directory }) => folders.has(directory) && affected.has(directory))
      .toSorted((a, b) => (a.directory < b.directory ? -1 : 1)),
    remarks: atMost([
      ...removed.map(
        (directory) =>
          `The root ${directory} is removed: what it manages stays, unless it is destroyed before`,
      ),
      ...missing
        .filter(({ directory }) => !listed.has(directory))
        .map(({ directory }) => `terraform.roots names ${directory}, which has no .tf or .tofu file`),
      ...(await strays(folders, changed)).map((path) => `${path} is changed, and no root is known to use it`),
    ]),
  };
}

/** Those that the fetched head changes since it left the branch `baseRef`. */
export async function rootsOfPull(
  repository: RemoteRepository,
  { head, baseRef }: { head: string; baseRef: string },
  signal: AbortSignal,
): Promise<ChangedRoots> {
  const { commit: tip } = await repository.fetch(`refs/heads/${baseRef}`, signal);
  const base = (await repository.reader.mergeBase(tip, head)) ?? tip;
  const changed = await repository.diffNames(base, head, signal);
  return changedRoots({ repository: repository.reader, head, base, changed });
}

function rootsBy({ terraform }: Rules, folders: Folders): readonly PlanRoot[] {
  const { tool, toolVersion, roots } = terraform ?? { tool: 'terraform', toolVersion: null, roots: null };
  return roots ?? rootFolders(folders).map((directory) => ({ directory, tool, toolVersion }));
}

/** Roots of the base whose last file is gone at the head. */
async function removedRoots(
  { repository, base = null, changed }: ChangedRootsQuestion,
  folders: Folders,
): Promise<string[]> {
  const gone = goneFrom(folders, changed);
  if (base === null || gone.size === 0) return [];
  const { rules } = await loadRules(repository, base, null);
  const before = await readFolders(repository, base);
  return rootsBy(rules, before)
    .map(({ directory }) => directory)
    .filter((directory) => gone.has(directory) && before.has(directory))
    .toSorted();
}

async function readFolders(repository: RepositoryReader, revision: string): Promise<Map<string, Folder>> {
  const files = (await repository.listTree(revision)).filter(
    ({ type, mode, path }) => type === 'blob' && mode !== '120000' && SOURCE_FILE.test(path),
  );
  const contents = await repository.blobs(files.map(({ id }) => id));
  const folders = new Map<string, Folder>();
  await eachInTurns(files, ({ path, id }) => {
    const directory = posix.dirname(path);
    const folder = folders.get(directory) ?? {
      path: directory,
      calls: [],
      reads: new Set(),
      hasBackend: false,
    };
    readSource(folder, contents.get(id)?.toString('utf8', 0, MAX_FILE_CHARACTERS) ?? '');
    folders.set(directory, folder);
  });
  return folders;
}

/** Adds what the text of one file says about its folder. Takes time in proportion to its length. */
export function readSource(folder: Folder, text: string): void {
  const sources = new Set(
    text
      .matchAll(LOCAL_SOURCE)
      .map(([, source = '']) => source)
      .take(MAX_REFERENCES),
  );
  for (const source of sources) folder.calls.push(within(folder.path, source));
  // What is computed may be any name of that folder.
  const ways = new Set(
    text
      .matchAll(OUTSIDE_PATH)
      .map(([, way = '', more]) => (more === '' ? way : way.slice(0, way.lastIndexOf('/'))))
      .take(MAX_REFERENCES),
  );
  for (const way of ways) folder.reads.add(within(folder.path, way));
  // What belongs to a module is known better.
  for (const called of folder.calls) folder.reads.delete(called);
  folder.hasBackend ||= BACKEND.test(text);
}

/** A slash at the end is kept off, as `posix.dirname` has none. */
function within(directory: string, way: string): string {
  return posix.join(directory, way).replace(/\/$/, '') || '.';
}

function rootFolders(folders: Folders): string[] {
  const called = new Set([...folders.values()].flatMap(({ calls }) => calls));
  return [...folders.values()]
    .filter(
      ({ path, hasBackend }) => hasBackend || !(called.has(path) || path.split('/').includes('modules')),
    )
    .map(({ path }) => path);
}

/** The folders that a changed path belongs to, those that name it, and all that call these, over any number of calls. */
async function affectedBy(folders: Folders, changed: readonly string[]): Promise<Set<string>> {
  const callers = new Map<string, string[]>();
  for (const { path, calls } of folders.values()) {
    for (const called of calls) {
      const known = callers.get(called);
      if (known) known.push(path);
      else callers.set(called, [path]);
    }
  }
  const affected = new Set<string>();
  const waiting = [
    ...(await ownersOf(folders, changed)),
    ...(await readersOf(folders, changed)),
    ...goneFrom(folders, changed),
  ];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (affected.has(next)) continue;
    affected.add(next);
    waiting.push(...(callers.get(next) ?? []));
  }
  return affected;
}

/** For each path the closest folder above it that has a module. */
async function ownersOf(folders: Folders, paths: readonly string[]): Promise<Set<string>> {
  const owners = new Set<string>();
  await eachInTurns(new Set(paths.map((path) => posix.dirname(path))), (directory) => {
    const owner = upFrom(directory).find((part) => folders.has(part));
    if (owner !== undefined) owners.add(owner);
  });
  return owners;
}

/** The folders with a file that names one of these paths, or a folder above it. */
async function readersOf(folders: Folders, paths: readonly string[]): Promise<string[]> {
  const read = new Set([...folders.values()].flatMap(({ reads }) => [...reads]));
  const changed = new Set<string>();
  await eachInTurns(paths, (path) => {
    for (const part of upFrom(path)) if (read.has(part)) changed.add(part);
  });
  return [...folders.values()].filter(({ reads }) => !reads.isDisjointFrom(changed)).map(({ path }) => path);
}

/** The path and the folders above it. They are not kept, because those of deep paths would fill the memory. */
function* upFrom(path: string): Generator<string> {
  // What is longer cannot be checked out.
  if (path.length > MAX_PATH_CHARACTERS) return;
  for (let part = path; part !== '.'; part = posix.dirname(part)) yield part;
  yield '.';
}

/** The folders that have lost their last source file. */
function goneFrom(folders: Folders, changed: readonly string[]): Set<string> {
  const directories = changed.filter((path) => SOURCE_FILE.test(path)).map((path) => posix.dirname(path));
  return new Set(directories.filter((directory) => !folders.has(directory)));
}

/** Files of variables that nothing seems to use: whoever uses them does so by a flag that is not known here. */
async function strays(folders: Folders, changed: readonly string[]): Promise<string[]> {
  const used = new Set([...folders.values()].flatMap(({ path, reads }) => [path, ...reads]));
  const found: string[] = [];
  await eachInTurns(changed, (path) => {
    if (VARIABLES_FILE.test(path) && !upFrom(path).some((part) => used.has(part))) found.push(path);
  });
  return found;
}

function atMost(remarks: readonly string[]): string[] {
  if (remarks.length <= MAX_REMARKS) return [...remarks];
  return [...remarks.slice(0, MAX_REMARKS), `${remarks.length - MAX_REMARKS} more of these are not listed`];
}
