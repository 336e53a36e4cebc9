/** git for tests: no configuration of the user or the system, a fixed committer, never a prompt. */

import { execa } from 'execa';

const { PATH = '/usr/local/bin:/usr/bin:/bin' } = process.env;

const ENVIRONMENT = {
  PATH,
  HOME: '/nonexistent',
  LC_ALL: 'C.UTF-8',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_TERMINAL_PROMPT: '0',
  GIT_AUTHOR_NAME: 'Platform Team',
  GIT_AUTHOR_EMAIL: 'platform@example.com',
  GIT_COMMITTER_NAME: 'Platform Team',
  GIT_COMMITTER_EMAIL: 'platform@example.com',
};

/** Runs git in `directory` and returns its stdout without the final newline. Throws if git fails. */
export async function git(directory: string, args: readonly string[], input = ''): Promise<string> {
  const { stdout } = await execa('git', args, { cwd: directory, env: ENVIRONMENT, extendEnv: false, input });
  return stdout;
}

/**
 * Runs the lines of a shell script, which gets `args` as $1 and so on. Returns its stdout without the final newline. Throws
 * at the first line that fails. A shell starts several gits for less than this large process needs for one.
 */
export async function gits(directory: string, script: string, args: readonly string[]): Promise<string> {
  const { stdout } = await execa('sh', ['-ec', script, 'sh', ...args], {
    cwd: directory,
    env: ENVIRONMENT,
    extendEnv: false,
    stdin: 'ignore',
  });
  return stdout;
}

/** Returns true if git succeeds, for questions such as `merge-base --is-ancestor`. */
export async function gitSucceeds(directory: string, args: readonly string[]): Promise<boolean> {
  const result = await execa('git', args, {
    cwd: directory,
    env: ENVIRONMENT,
    extendEnv: false,
    reject: false,
    stdin: 'ignore',
  });
  return result.exitCode === 0;
}
