/** Explains in one sentence why a program could not be started. */

import { existsSync } from 'node:fs';

export interface SpawnFailure {
  kind: 'not_started';
  /** The system's name of the error, such as ENOENT. */
  code: string;
  message: string;
}

/** Never names an argument or an environment value, because they may be secret. */
export function describeSpawnFailure(program: string, cwd: string, code: string): SpawnFailure {
  return { kind: 'not_started', code, message: explain(program, cwd, code) };
}

function explain(program: string, cwd: string, code: string): string {
  switch (code) {
    case 'ENOENT':
      return existsSync(cwd)
        ? `The program ${program} was not found; install it or correct PATH.`
        : `The working directory ${cwd} of ${program} does not exist.`;
    case 'ENOTDIR':
      return `The working directory ${cwd} of ${program} is not a directory.`;
    case 'EACCES':
    case 'EPERM':
      return `The program ${program} may not be executed in ${cwd} (${code}); check their permissions.`;
    case 'ENOEXEC':
      return `The program ${program} is not in a form this system can execute; a script needs a #! line.`;
    case 'EINVAL':
      return `An argument or environment value for ${program} holds a NUL byte, which no process can be given.`;
    case 'E2BIG':
      return `The arguments and environment for ${program} are larger than the system allows; pass less.`;
    case 'EMFILE':
    case 'ENFILE':
      return `Too many files are open to start ${program} (${code}); raise the limit or run less at once.`;
    case 'EAGAIN':
    case 'ENOMEM':
      return `The system has no resources to start ${program} (${code}); retry later.`;
    default:
      return `The program ${program} could not be started (${code}).`;
  }
}
