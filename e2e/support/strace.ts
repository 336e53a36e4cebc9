/** Runs the server under strace, to see its system calls or to kill it at one of them. */

import type { TestContext } from 'vitest';
import { runBounded } from './bounded-command.ts';
import { PROJECT_ROOT } from './project-root.ts';

/** Detached from what the server starts: git and tasks are neither counted nor killed. */
const STRACE = ['strace', '-f', '-b', 'execve', '-qq'] as const;
const SERVER = [process.execPath, `${PROJECT_ROOT}/src/cli.ts`, 'serve'] as const;

/** Skips the test by name where strace is missing or the kernel does not let it trace. */
export async function straceOrSkip(context: TestContext): Promise<void> {
  const tried = await runBounded([...STRACE, '-o', '/dev/null', '-e', 'trace=none', 'true'], 10_000);
  if (!tried.ok) context.skip(`strace does not work here: ${tried.problem}`);
}

/** argv of a server that is killed when one of its threads begins its nth of these calls. */
export function serverKilledAt(calls: string, n: number): string[] {
  return [
    ...STRACE,
    '-o',
    '/dev/null',
    '-e',
    `trace=${calls}`,
    '-e',
    `inject=${calls}:signal=SIGKILL:when=${n}`,
    ...SERVER,
  ];
}

/** argv of a server whose calls are written to `file`, one line each, with the paths of file descriptors. */
export function serverTraced(calls: string, file: string): string[] {
  return [...STRACE, '-y', '-s', '80', '-o', file, '-e', `trace=${calls}`, ...SERVER];
}
