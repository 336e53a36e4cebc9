/** The example platform as a bare repository, with a working clone for pushes. */

import { chmod, cp, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { git } from './git.ts';
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

/** Creates `platform.git` and `clone` in `folder`, with one commit pushed to main. */
export async function createPlatformRepository(
  folder: string,
  source = join(PROJECT_ROOT, 'examples/platform'),
): Promise<PlatformRepository> {
  const path = join(folder, 'platform.git');
  const clone = join(folder, 'clone');
  await git(folder, ['init', '--quiet', '--bare', '--template=', '--initial-branch=main', path]);
  // As at GitHub, every commit can be fetched by its id, and a clone may leave blobs out.
  await git(path, ['config', 'uploadpack.allowAnySHA1InWant', 'true']);
  await git(path, ['config', 'uploadpack.allowFilter', 'true']);
  await cp(source, clone, { recursive: true, filter: (file) => !NOT_COPIED.has(basename(file)) });
  await git(clone, ['init', '--quiet', '--template=', '--initial-branch=main']);
  await git(clone, ['remote', 'add', 'origin', path]);
  const repository = openRepository(path, clone);
  await repository.commit('Describe the platform');
  await repository.push();
  return repository;
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
    async commit(message) {
      await inClone('add', '--all');
      await inClone('commit', '--quiet', '--allow-empty', `--message=${message}`);
      return inClone('rev-parse', 'HEAD');
    },
    async push({ force = false, refspec } = {}) {
      const spec = refspec ?? `HEAD:${await inClone('symbolic-ref', 'HEAD')}`;
      const ref = spec.slice(spec.indexOf(':') + 1);
      const before = await commitOf(path, ref);
      await inClone('push', '--quiet', ...(force ? ['--force'] : []), 'origin', spec);
      return { ref, before, after: await commitOf(path, ref) };
    },
    head: () => inClone('rev-parse', 'HEAD'),
    git: inClone,
  };
}

/** Returns the commit of a full ref name in a repository, or 40 zeros. */
async function commitOf(path: string, ref: string): Promise<string> {
  const found = await git(path, ['for-each-ref', '--format=%(objectname)', ref]);
  return found === '' ? '0'.repeat(40) : found;
}
