/** The root modules that a pull request changes: as its rules list them, or found by their files. */

import { posix } from 'node:path';
import { RunnerError } from '../../errors.ts';
import type { RemoteRepository } from '../../git/remote-repositories.ts';
import type { RepositoryReader } from '../../git/repository-reader.ts';
import type { PlanRoot } from '../../runs/plan-comment.ts';
import { loadRules } from '../load-rules.ts';

export interface ChangedRootsQuestion {
  repository: RepositoryReader;
  /** Full commit id of the pull request's head. */
  head: string;
  /** Paths that it changes. */
  changed: readonly string[];
}

/** Files of the language, not of tests. */
const SOURCE_FILE = /\.(tf|tofu)(\.json)?$/;
/** A call of a module of this repository. */
const LOCAL_SOURCE = /(?:^|[{,])\s*"?source"?\s*[=:]\s*"(\.\.?\/[^"]*|\.\.?)"/gm;
const BACKEND = /^\s*(backend\s+"|cloud\s*\{)/m;

interface Folder {
  path: string;
  /** Folders of the modules it calls. */
  calls: string[];
  hasBackend: boolean;
}

/**
 * In the order of their paths. A folder with .tf or .tofu files is a root when it has a backend, or when no other
 * folder calls it as a module and it is not below a folder named `modules`. A root is changed when a file is that
 * lies closest to it, or to a module that it calls. Throws RunnerError for rules that cannot be read.
 */
export async function changedRoots({ repository, head, changed }: ChangedRootsQuestion): Promise<PlanRoot[]> {
  const { rules, problems } = await loadRules(repository, head, null);
  const [problem] = problems;
  if (problem !== undefined) throw new RunnerError(problem);
  const { tool, toolVersion, roots } = rules.terraform ?? {
    tool: 'terraform',
    toolVersion: null,
    roots: null,
  };
  const folders = await readFolders(repository, head);
  const touched = touchedFolders(folders, changed);
  const listed = roots ?? rootFolders(folders).map((directory) => ({ directory, tool, toolVersion }));
  return listed
    .filter(({ directory }) => folders.has(directory))
    .filter(({ directory }) => [...reachedFrom(folders, directory)].some((folder) => touched.has(folder)))
    .toSorted((a, b) => (a.directory < b.directory ? -1 : 1));
}

/** Those that the fetched head changes since it left the branch `baseRef`. */
export async function rootsOfPull(
  repository: RemoteRepository,
  { head, baseRef }: { head: string; baseRef: string },
  signal: AbortSignal,
): Promise<PlanRoot[]> {
  const { commit: base } = await repository.fetch(`refs/heads/${baseRef}`, signal);
  const fork = await repository.reader.mergeBase(base, head);
  const changed = await repository.diffNames(fork ?? base, head, signal);
  return changedRoots({ repository: repository.reader, head, changed });
}

async function readFolders(repository: RepositoryReader, head: string): Promise<Map<string, Folder>> {
  const files = (await repository.listTree(head)).filter(
    ({ type, mode, path }) => type === 'blob' && mode !== '120000' && SOURCE_FILE.test(path),
  );
  const contents = await repository.blobs(files.map(({ id }) => id));
  const folders = new Map<string, Folder>();
  for (const { path, id } of files) {
    const directory = posix.dirname(path);
    const folder = folders.get(directory) ?? { path: directory, calls: [], hasBackend: false };
    const text = contents.get(id)?.toString('utf8') ?? '';
    for (const [, source = ''] of text.matchAll(LOCAL_SOURCE)) {
      folder.calls.push(posix.join(directory, source).replace(/\/$/, '') || '.');
    }
    folder.hasBackend ||= BACKEND.test(text);
    folders.set(directory, folder);
  }
  return folders;
}

function rootFolders(folders: ReadonlyMap<string, Folder>): string[] {
  const called = new Set([...folders.values()].flatMap(({ calls }) => calls));
  return [...folders.values()]
    .filter(
      ({ path, hasBackend }) => hasBackend || !(called.has(path) || path.split('/').includes('modules')),
    )
    .map(({ path }) => path);
}

/** For each changed path the closest folder above it that has a module. */
function touchedFolders(folders: ReadonlyMap<string, Folder>, changed: readonly string[]): Set<string> {
  const touched = new Set<string>();
  for (const path of changed) {
    let directory = posix.dirname(path);
    while (!folders.has(directory) && directory !== '.') directory = posix.dirname(directory);
    touched.add(directory);
  }
  return touched;
}

/** The folder itself and every module that it calls, over any number of calls. */
function reachedFrom(folders: ReadonlyMap<string, Folder>, directory: string): Set<string> {
  const reached = new Set<string>();
  const waiting = [directory];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (reached.has(next)) continue;
    reached.add(next);
    waiting.push(...(folders.get(next)?.calls ?? []));
  }
  return reached;
}
