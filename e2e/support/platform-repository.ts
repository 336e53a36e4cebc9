/** The example platform as a bare repository, with a working clone for pushes. */

import { chmod, cp, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { execa } from 'execa';
import { git, gits } from './git.ts';
import { PROJECT_ROOT } from './project-root.ts';

export interface PlatformRepository {
  /** The bare repository, as the value of GIT_REPO_URL. */
  path: string;
  /** The working clone. */
  clone: string;
  /** Writes a file and creates its folders. */
  write(path: string, content: string | Uint8Array, mode?: number): Promise<void>;
  remove(path: string): Promise<void>;
  move(from: string, to: string): Promise<void>;
  /** Commits all changes and returns the commit id. */
  commit(message: string): Promise<string>;
  /**
   * Pushes the checked-out branch, or `refspec`. Returns the commit of the remote branch before (zeros for none)
   * and after.
   */
  push(options?: {
    force?: boolean;
    refspec?: string;
  }): Promise<{ ref: string; before: string; after: string }>;
  /** The commit of the clone. */
  head(): Promise<string>;
  /** Runs any other git command in the clone: branches, merges, resets. */
  git(...args: string[]): Promise<string>;
}

const NOT_COPIED = new Set(['__pycache__', '.venv', '.env', '.git']);

/** A folder with the repository of the example platform, which the global set-up of the tests makes once. */
const PREPARED = 'IAC_PREPARED_PLATFORM';

/** Creates `platform.git` and `clone` in `folder`, with one commit pushed to main. */
export async function createPlatformRepository(folder: string, source?: string): Promise<PlatformRepository> {
  const prepared = process.env[PREPARED];
  if (source !== undefined || prepared === undefined) return await buildPlatformRepository(folder, source);
  const { path, clone } = placesIn(folder);
  await execa('cp', ['-a', `${prepared}/.`, folder]);
  await git(clone, ['remote', 'set-url', 'origin', path]);
  return openRepository(path, clone);
}

/** Makes the repository that all tests then copy, because a copy needs fewer processes. */
export async function preparePlatformRepository(folder: string): Promise<void> {
  const { path } = await buildPlatformRepository(folder);
  await git(path, ['gc', '--quiet']);
  process.env[PREPARED] = folder;
}

async function buildPlatformRepository(
  folder: string,
  source = join(PROJECT_ROOT, 'examples/platform'),
): Promise<PlatformRepository> {
  const { path, clone } = placesIn(folder);
  await cp(source, clone, { recursive: true, filter: (file) => !NOT_COPIED.has(basename(file)) });
  await gits(folder, SET_UP, [path, clone]);
  const repository = openRepository(path, clone);
  await repository.commit('Describe the platform');
  await repository.push();
  return repository;
}

// As at GitHub, every commit can be fetched by its id, and a clone may leave blobs out.
const SET_UP = `
git init --quiet --bare --template= --initial-branch=main "$1"
git -C "$1" config uploadpack.allowAnySHA1InWant true
git -C "$1" config uploadpack.allowFilter true
git -C "$2" init --quiet --template= --initial-branch=main
git -C "$2" remote add origin "$1"`;

function placesIn(folder: string): { path: string; clone: string } {
  return { path: join(folder, 'platform.git'), clone: join(folder, 'clone') };
}

function openRepository(path: string, clone: string): PlatformRepository {
  const inClone = (...args: string[]): Promise<string> => git(clone, args);
  return {
    path,
    clone,
    async write(file, content, mode) {
      const target = join(clone, file);
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, content);
      if (mode !== undefined) await chmod(target, mode);
    },
    async remove(file) {
      await rm(join(clone, file), { recursive: true });
    },
    async move(from, to) {
      await mkdir(dirname(join(clone, to)), { recursive: true });
      await rename(join(clone, from), join(clone, to));
    },
    commit: (message) => gits(clone, COMMIT, [message]),
    async push({ force = false, refspec = '' } = {}) {
      const output = await gits(clone, PUSH, [path, refspec, ...(force ? ['--force'] : [])]);
      const [ref = '', before = '', after = ''] = output.split('\n');
      return { ref, before: before || NO_COMMIT, after: after || NO_COMMIT };
    },
    head: () => inClone('rev-parse', 'HEAD'),
    git: inClone,
  };
}

const NO_COMMIT = '0'.repeat(40);

const COMMIT = `
git add --all
git commit --quiet --allow-empty --message="$1"
git rev-parse HEAD`;

/** Prints the full name of the branch, and its commit before and after. */
const PUSH = `
remote=$1 spec=$2
shift 2
if [ -z "$spec" ]; then spec=HEAD:$(git symbolic-ref HEAD); fi
ref=\${spec#*:}
commit() { printf '%s\\n' "$(git -C "$remote" for-each-ref '--format=%(objectname)' "$ref")"; }
printf '%s\\n' "$ref"
commit
git push --quiet "$@" origin "$spec"
commit`;
