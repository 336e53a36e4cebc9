/** A real remote, a working clone to commit in, and the parts of this folder on top of it, for its tests. */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { onTestFinished } from 'vitest';
import { captureProcess } from '../process/capture.ts';
import { createGit, type Git } from './git.ts';
import { createMirror, type Mirror } from './own/mirror.ts';
import { createWorkspace, type Workspace } from './own/workspace.ts';

export const PATH = '/usr/local/bin:/usr/bin:/bin';

const GIT = ['git', '-c', 'user.name=Dev', '-c', 'user.email=dev@example.com'] as const;

// Several gits in one shell: a shell starts them for a tenth of what it costs this large process.
const SET_UP = `set -e
git init -q --bare -b main "$1"
git init -q -b "$0" "$2"
git -C "$2" remote add origin "$1"`;
const COMMIT = `set -e
git() { command ${GIT.join(' ')} "$@"; }
git add -A -f
git commit -q --allow-empty -m "$1"
git push -q --force origin "HEAD:refs/heads/$0"
git rev-parse HEAD`;

export interface World {
  root: string;
  /** The bare repository that stands for GitHub. */
  remote: string;
  /** A clone of it to commit and push from. */
  source: string;
  git: Git;
  mirror: Mirror;
  workspace: Workspace;
  /** Messages of the mirror's log. */
  warnings: string[];
  /** Runs git as a developer would, by default in `source`. Resolves to its trimmed stdout. */
  shell(args: readonly string[], directory?: string): Promise<string>;
  /** Writes the files (null removes), commits everything and pushes the branch; the commit's id. */
  commit(files: Record<string, string | null>, message?: string): Promise<string>;
}

/** Removed when the test ends. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'git-world-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true, maxRetries: 3 }));
  return directory;
}

export async function createWorld(
  options: { branch?: string; url?: (remote: string) => string; token?: string; path?: string } = {},
): Promise<World> {
  const { branch = 'main', url = (remote) => remote, token = null, path = PATH } = options;
  const root = await temporaryDirectory();
  const remote = join(root, 'remote.git');
  const source = join(root, 'source');
  const shell = (args: readonly string[], directory = source) =>
    developerRuns(root, directory, [...GIT, ...args]);
  await developerRuns(root, root, ['sh', '-c', SET_UP, branch, remote, source]);

  const warnings: string[] = [];
  const log = { warn: (_fields: object, message: string) => void warnings.push(message) };
  const git = createGit({ path, home: root, remote: { url: url(remote), token }, timeoutMs: 60_000 });
  const mirror = createMirror({
    git,
    directory: join(root, 'data/mirror.git'),
    followed: { branch },
    log,
    lockStaleMs: 2000,
  });
  const workspace = createWorkspace({ git, mirror, directory: join(root, 'work/platform') });

  async function commit(files: Record<string, string | null>, message = 'Change'): Promise<string> {
    for (const [path, content] of Object.entries(files)) {
      const target = join(source, path);
      await rm(target, { recursive: true, force: true });
      if (content === null) continue;
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, content);
    }
    return developerRuns(root, source, ['sh', '-c', COMMIT, branch, message]);
  }

  return { root, remote, source, git, mirror, workspace, warnings, shell, commit };
}

async function developerRuns(
  home: string,
  cwd: string,
  argv: readonly [string, ...string[]],
): Promise<string> {
  const env = { PATH, HOME: home, GIT_CONFIG_NOSYSTEM: '1' };
  const result = await captureProcess({ argv, cwd, env, timeoutMs: 100_000 });
  if (result.kind === 'exited' && result.exitCode === 0) return result.stdout.toString().trim();
  throw new Error(`${argv.join(' ')}: ${JSON.stringify(result)}`);
}
