/** Reads somebody's clone without a change to it: its commits, and the uncommitted files of its working folder. */

import { copyFile, lstat, mkdir, readFile, realpath, stat, utimes } from 'node:fs/promises';
import path from 'node:path';
import { GitError, orIfMissing } from '../../errors.ts';
import { SECOND } from '../../units.ts';
import { gitFailure } from '../failure.ts';
import { type Git, inRepository, type RepositoryGit } from '../git.ts';
import { createScratchRepository, type ScratchRepository } from './scratch-repository.ts';

export interface Clone {
  /** The commit of a name in the clone, e.g. HEAD~2, main or an abbreviated id; null if there is none. */
  commitOf(name: string): Promise<string | null>;
  /**
   * Makes a commit of the files in the working folder, tracked or not, without those that git ignores, on top of
   * `head`. Throws GitError if the clone has no working folder.
   */
  workingFolder(head: string | null): Promise<string>;
  scratch: ScratchRepository;
}

interface Found {
  gitDirectory: string;
  workTree: string | null;
}

/** Settings of the clone that say how git reads its files. They can start nothing. */
const FILE_SETTINGS = /^core\.(filemode|symlinks|ignorecase|precomposeunicode|autocrlf|eol)$/;
const FILE_SETTING_VALUE = /^(true|false|input|lf|crlf|native)$/;

/**
 * Opens the clone that contains `folder`. `directory` is for temporary files, and the caller removes it. None of the
 * clone's hooks, filters and remotes is used. Throws GitError `unavailable` if there is no clone.
 */
export async function openClone(options: { git: Git; folder: string; directory: string }): Promise<Clone> {
  const { git } = options;
  const { gitDirectory, workTree } = await find(await realpath(options.folder));
  const repository = inRepository(git, { gitDirectory });
  const named = ['objects', 'shallow', 'index', 'info/exclude'].flatMap((name) => ['--git-path', name]);
  const output = await repository.read(`${options.folder} cannot be read`, ['rev-parse', ...named]);
  const [objects = '', shallow = '', index = '', exclude = ''] = output.toString().split('\n');
  const scratch = await createScratchRepository({ git, directory: options.directory, objects });
  await copyIfThere(shallow, path.join(scratch.directory, 'shallow'));

  return {
    scratch,
    async commitOf(name) {
      // The name is given on standard input, where it cannot be an option.
      const input = `${name.replaceAll('\n', ' ')}^{commit}\n`;
      const args = ['cat-file', '--batch-check=%(objectname) %(objecttype)'];
      const { stdout } = await repository.run(args, { input });
      return /^([0-9a-f]{40}) commit\n$/.exec(stdout.toString())?.[1] ?? null;
    },
    async workingFolder(head) {
      if (!workTree) throw new GitError('unavailable', `${options.folder} has no working folder.`);
      // The index knows which files were not changed, so that git reads only the others.
      await copyIfThere(index, path.join(scratch.directory, 'index'));
      await copyIfThere(exclude, path.join(scratch.directory, 'info/exclude'));
      const inFolder = inRepository(git, { gitDirectory: scratch.directory, workTree });
      const settings = ['-c', 'core.looseCompression=0', ...(await readFileSettings(repository))];
      const added = await inFolder.run([...settings, 'add', '--all', '--', '.']);
      if (added.exitCode !== 0) throw gitFailure(`Reading the files of ${workTree} failed`, added.stderr);
      const tree = await inFolder.readId('Making a tree failed', ['write-tree', '--missing-ok']);
      return scratch.commitTree(tree, head === null ? [] : [head]);
    },
  };
}

async function readFileSettings({ read }: RepositoryGit): Promise<string[]> {
  const listed = await read('Reading its settings failed', ['config', '--list', '-z']);
  return listed
    .toString()
    .split('\0')
    .flatMap((entry) => {
      const [key = '', value = ''] = entry.split('\n');
      return FILE_SETTINGS.test(key) && FILE_SETTING_VALUE.test(value) ? ['-c', `${key}=${value}`] : [];
    });
}

/** Looks as git itself does: upwards to the first `.git`, or to a bare repository. */
async function find(folder: string): Promise<Found> {
  for (let current = folder; ; current = path.dirname(current)) {
    const inside = path.join(current, '.git');
    const found = await lstat(inside).catch(() => null);
    if (found?.isFile()) {
      const [, target] = /^gitdir: (.+)\n?$/.exec(await readFile(inside, 'utf8')) ?? [];
      if (target !== undefined) return { gitDirectory: path.resolve(current, target), workTree: current };
    } else if (found) return { gitDirectory: inside, workTree: current };
    if (await isBare(current)) return { gitDirectory: current, workTree: null };
    if (current === path.dirname(current)) break;
  }
  throw new GitError('unavailable', `${folder} is not in a clone of a repository.`, {
    nextAction: 'Name a folder of one.',
  });
}

async function isBare(folder: string): Promise<boolean> {
  const stats = await Promise.all(
    ['HEAD', 'objects', 'refs'].map((name) => lstat(path.join(folder, name)).catch(() => null)),
  );
  return stats.every((stat) => stat !== null);
}

/**
 * Copies a file, if there is one. The copy is as old as the original, in whole seconds, because git reads a file again
 * if it is not older than the index. If the index were younger, git could miss an edit in the same second.
 */
async function copyIfThere(from: string, to: string): Promise<void> {
  await mkdir(path.dirname(to), { recursive: true });
  const copy = async (): Promise<void> => {
    const { mtimeMs } = await stat(from);
    await copyFile(from, to);
    const second = Math.floor(mtimeMs / SECOND);
    await utimes(to, second, second);
  };
  await copy().catch(orIfMissing(undefined));
}
