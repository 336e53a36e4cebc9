/** Finds the root modules that a pull request changes. The rules list the roots, or they are found by their files. */

import { posix } from 'node:path';
import { RunnerError } from '../../errors.ts';
import { eachInTurns } from '../../event-loop.ts';
import type { RepositoryReader } from '../../git/read/repository-reader.ts';
import type { RemoteRepository } from '../../git/requested/remote-repositories.ts';
import type { PlanRoot } from '../../runs/plan-comment.ts';
import { loadRules } from '../rules/load-rules.ts';
import type { Rules } from '../rules/service-rules.ts';

interface ChangedRootsQuestion {
  repository: RepositoryReader;
  /** The full commit id of the pull request's head. */
  head: string;
  /** The commit at which the pull request branched off, or null. */
  base?: string | null;
  /** The paths that the pull request changes. */
  changed: readonly string[];
}

export interface ChangedRoots {
  roots: PlanRoot[];
  /** Changes that are not planned. Each remark is a sentence without its full stop. */
  remarks: string[];
}

/** The files of the language, without those of tests. */
const SOURCE_FILE = /\.(tf|tofu)(\.json)?$/;
const VARIABLES_FILE = /\.tfvars(\.json)?$/;
/** A call of a module of this repository, on one line. */
const LOCAL_SOURCE = /(?:^|[{,])[ \t]*"?source"?[ \t]*[=:][ \t]*"(\.\.?\/[^"\n]{0,999}|\.\.?)"/gm;
/** A path that leads out of the folder, up to its first computed part. */
const OUTSIDE_PATH = /(?<![\w.-])(\.\.\/[^\s"'`$%{}()[\],;]{0,999})(\$?)/g;
const BACKEND = /^[ \t]*(?:backend[ \t]+"|cloud[ \t]*\{)/m;
/** The rest of a longer file is not read. Nobody writes such a file by hand. */
const MAX_FILE_CHARACTERS = 1024 * 1024;
/** Other references of the same file are not followed. */
const MAX_REFERENCES = 1_000;
const MAX_PATH_CHARACTERS = 4_096;
const MAX_REMARKS = 10;

interface Folder {
  path: string;
  /** The folders of the modules that it calls. */
  calls: string[];
  /** The files and folders outside that its files name. */
  reads: Set<string>;
  hasBackend: boolean;
}

type Folders = ReadonlyMap<string, Folder>;

/**
 * The roots are sorted by path. A folder with .tf or .tofu files is a root if it has a backend, or if no other folder
 * calls it as a module and it is not below a folder named `modules`. A changed file changes a root if it belongs to the
 * root or to a module that the root calls, or if one of these names it by a path with "..". A file belongs to the closest
 * folder above it that has a module. Throws RunnerError if the rules cannot be read.
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

/** The roots that the fetched head changes, compared with the commit at which it left the branch `baseRef`. */
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

/** Roots of the base that have no file left at the head. */
async function removedRoots(
  { repository, base = null, changed }: ChangedRootsQuestion,
  folders: Folders,
): Promise<string[]> {
  const emptied = emptiedFolders(folders, changed);
  if (base === null || emptied.size === 0) return [];
  const { rules } = await loadRules(repository, base, null);
  const before = await readFolders(repository, base);
  return rootsBy(rules, before)
    .map(({ directory }) => directory)
    .filter((directory) => emptied.has(directory) && before.has(directory))
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

/** Adds the references of one file to its folder. Takes time in proportion to the length of the text. */
export function readSource(folder: Folder, text: string): void {
  const sources = new Set(
    text
      .matchAll(LOCAL_SOURCE)
      .map(([, source = '']) => source)
      .take(MAX_REFERENCES),
  );
  for (const source of sources) folder.calls.push(within(folder.path, source));
  // A computed part may stand for any name in that folder.
  const paths = new Set(
    text
      .matchAll(OUTSIDE_PATH)
      .map(([, file = '', more]) => (more === '' ? file : file.slice(0, file.lastIndexOf('/'))))
      .take(MAX_REFERENCES),
  );
  for (const file of paths) folder.reads.add(within(folder.path, file));
  // The files of a called module are followed more exactly.
  for (const called of folder.calls) folder.reads.delete(called);
  folder.hasBackend ||= BACKEND.test(text);
}

/** Without a slash at the end, like the results of `posix.dirname`. */
function within(directory: string, file: string): string {
  return posix.join(directory, file).replace(/\/$/, '') || '.';
}

function rootFolders(folders: Folders): string[] {
  const called = new Set([...folders.values()].flatMap(({ calls }) => calls));
  return [...folders.values()]
    .filter(
      ({ path, hasBackend }) => hasBackend || !(called.has(path) || path.split('/').includes('modules')),
    )
    .map(({ path }) => path);
}

/** Finds the folder that has a changed path, the folders that name it, and all folders that call these, even indirectly. */
async function affectedBy(folders: Folders, changed: readonly string[]): Promise<Set<string>> {
  const pairs = [...folders.values()].flatMap(({ path, calls }) => calls.map((called) => ({ path, called })));
  const callers = Map.groupBy(pairs, ({ called }) => called);
  const affected = new Set<string>();
  const waiting = [
    ...(await ownersOf(folders, changed)),
    ...(await readersOf(folders, changed)),
    ...emptiedFolders(folders, changed),
  ];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (affected.has(next)) continue;
    affected.add(next);
    waiting.push(...(callers.get(next) ?? []).map(({ path }) => path));
  }
  return affected;
}

/** For each path, the closest folder above it that has a module. */
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

/** The path and the folders above it. A generator, because all folders of deep paths would fill the memory. */
function* upFrom(path: string): Generator<string> {
  // A longer path cannot be checked out.
  if (path.length > MAX_PATH_CHARACTERS) return;
  for (let part = path; part !== '.'; part = posix.dirname(part)) yield part;
  yield '.';
}

/** The folders that have lost their last source file. */
function emptiedFolders(folders: Folders, changed: readonly string[]): Set<string> {
  const directories = changed.filter((path) => SOURCE_FILE.test(path)).map((path) => posix.dirname(path));
  return new Set(directories.filter((directory) => !folders.has(directory)));
}

/** Files of variables that no root seems to use. A flag that is not known here may name them. */
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
