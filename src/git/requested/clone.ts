/** Somebody's clone, read without being changed: its commits, and what lies uncommitted in its working folder. */

import { copyFile, lstat, mkdir, readFile, realpath, stat, utimes } from 'node:fs/promises';
import path from 'node:path';
import { GitError } from '../../errors.ts';
import { gitFailure } from '../failure.ts';
import { checkedId, type Git } from '../git.ts';
import { createScratchRepository, type ScratchRepository } from './scratch-repository.ts';

export interface Clone {
  /** The commit that a name stands for there, e.g. HEAD~2, main or an abbreviated id; null when it is none. */
  commitOf(name: string): Promise<string | null>;
  /**
   * A commit of what lies in the working folder now, tracked or not but without what git ignores, on top of `head`.
   * Throws GitError when the clone has no working folder.
   */
  workingFolder(head: string | null): Promise<string>;
  scratch: ScratchRepository;
}

interface Found {
  gitDirectory: string;
  workTree: string | null;
}

/** Settings of the clone that say how its files are to be read; they can start nothing. */
const FILE_SETTINGS = /^core\.(filemode|symlinks|ignorecase|precomposeunicode|autocrlf|eol)$/;
const FILE_SETTING_VALUE = /^(true|false|input|lf|crlf|native)$/;

/**
 * Opens the clone that holds `folder`. `directory` is for what has to be written on the way, and the caller's to
 * remove. None of the clone's hooks, filters and remotes is used. Throws GitError `unavailable` when there is none.
 */
export async function openClone(options: { git: Git; folder: string; directory: string }): Promise<Clone> {
  const { git } = options;
  const { gitDirectory, workTree } = await find(await realpath(options.folder));
  const named = ['objects', 'shallow', 'index', 'info/exclude'];
  const output = await git.read(
    `${options.folder} cannot be read`,
    ['rev-parse', ...named.flatMap((name) => ['--git-path', name])],
    { gitDirectory },
  );
  const [objects = '', shallow = '', index = '', exclude = ''] = output.toString().split('\n');
  const scratch = await createScratchRepository({ git, directory: options.directory, objects });
  await copyIfThere(shallow, path.join(scratch.directory, 'shallow'));

  async function readFileSettings(): Promise<string[]> {
    const listed = await git.read('Reading its settings failed', ['config', '--list', '-z'], {
      gitDirectory,
    });
    return listed
      .toString()
      .split('\0')
      .flatMap((entry) => {
        const [key = '', value = ''] = entry.split('\n');
        return FILE_SETTINGS.test(key) && FILE_SETTING_VALUE.test(value) ? ['-c', `${key}=${value}`] : [];
      });
  }

  return {
    scratch,
    async commitOf(name) {
      // On standard input: nothing that a name could say is an option there.
      const input = `${name.replaceAll('\n', ' ')}^{commit}\n`;
      const args = ['cat-file', '--batch-check=%(objectname) %(objecttype)'];
      const { stdout } = await git.run(args, { gitDirectory, input });
      return /^([0-9a-f]{40}) commit\n$/.exec(stdout.toString())?.[1] ?? null;
    },
    async workingFolder(head) {
      if (!workTree) throw new GitError('unavailable', `${options.folder} has no working folder.`);
      // Its index knows which files were not touched, so that only the others are read.
      await copyIfThere(index, path.join(scratch.directory, 'index'));
      await copyIfThere(exclude, path.join(scratch.directory, 'info/exclude'));
      const place = { gitDirectory: scratch.directory, workTree };
      const settings = ['-c', 'core.looseCompression=0', ...(await readFileSettings())];
      const added = await git.run([...settings, 'add', '--all', '--', '.'], place);
      if (added.exitCode !== 0) throw gitFailure(`Reading the files of ${workTree} failed`, added.stderr);
      const tree = await git.read('Making a tree failed', ['write-tree', '--missing-ok'], place);
      return scratch.commitTree(checkedId(tree.toString().trim()), head === null ? [] : [head]);
    },
  };
}

/** As git itself looks: upwards to the first `.git`, or to a bare repository. */
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
 * The copy is as old as the original, in whole seconds: git reads a file again if it is not older than the index. If
 * the index seemed younger, git would miss an edit in the second in which it had read the file.
 */
async function copyIfThere(from: string, to: string): Promise<void> {
  await mkdir(path.dirname(to), { recursive: true });
  try {
    const { mtimeMs } = await stat(from);
    await copyFile(from, to);
    const second = Math.floor(mtimeMs / 1_000);
    await utimes(to, second, second);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
}
