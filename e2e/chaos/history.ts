/** The commits of a chaos run in git: which commit descends from which, and the trees of the services. */

import { git } from '../support/git.ts';
import { FOLDERS } from '../support/platform-services.ts';
import { SLOW_FOLDER, SLOW_SERVICE } from './slow-service.ts';

export const SERVICE_FOLDERS: Readonly<Record<string, string>> = { ...FOLDERS, [SLOW_SERVICE]: SLOW_FOLDER };

export interface History {
  head: string;
  /** True also if both are the same commit. */
  contains(descendant: string, ancestor: string): boolean;
  /** The tree of the service's folder, or null if the commit or the folder is not known. */
  tree(commit: string, service: string): string | null;
}

/** A commit never changes, so git is asked about each commit once, however often the head moves. */
export function createHistoryReader(path: string): (commits: readonly string[]) => Promise<History> {
  const known = new Set<string>();
  const parents = new Map<string, string[]>();
  const trees = new Map<string, string>();
  const ancestors = new Map<string, Set<string>>();

  function ancestorsOf(commit: string): Set<string> {
    const found = ancestors.get(commit) ?? new Set([commit]);
    if (ancestors.has(commit)) return found;
    const left = [commit];
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      for (const parent of parents.get(next) ?? []) {
        if (!found.has(parent)) left.push(parent);
        found.add(parent);
      }
    }
    ancestors.set(commit, found);
    return found;
  }

  /** A forced push may have removed the commits from the branch. */
  return async (commits) => {
    const head = await git(path, ['rev-parse', 'refs/heads/main']);
    const fresh = [...new Set([...commits, head])].filter((commit) => !known.has(commit));
    if (fresh.length > 0) {
      for (const [commit, theirs] of await readParents(path, fresh)) parents.set(commit, theirs);
      for (const [name, id] of await readTrees(path, fresh)) trees.set(name, id);
      for (const commit of fresh) known.add(commit);
    }
    return {
      head,
      contains: (descendant, ancestor) => ancestorsOf(descendant).has(ancestor),
      tree: (commit, service) => trees.get(`${commit}:${SERVICE_FOLDERS[service]}`) ?? null,
    };
  };
}

async function readParents(path: string, commits: readonly string[]): Promise<Map<string, string[]>> {
  const output = await git(path, ['rev-list', '--parents', '--stdin'], `${commits.join('\n')}\n`);
  return new Map(
    output.split('\n').map((line) => {
      const [commit = '', ...parents] = line.split(' ');
      return [commit, parents];
    }),
  );
}

async function readTrees(path: string, commits: readonly string[]): Promise<Map<string, string>> {
  const names = commits.flatMap((commit) =>
    Object.values(SERVICE_FOLDERS).map((folder) => `${commit}:${folder}`),
  );
  const output = await git(path, ['cat-file', '--batch-check=%(objectname)'], `${names.join('\n')}\n`);
  const ids = output.split('\n');
  return new Map(
    names.flatMap((name, index) => {
      const id = ids[index] ?? '';
      return /^[0-9a-f]{40}$/.test(id) ? [[name, id] as const] : [];
    }),
  );
}
