/** Runs the server under strace, to record its system calls or to kill it at one of them. */

import type { TestContext } from 'vitest';
import { runBounded } from './bounded-command.ts';
import { CLI } from './program.ts';

/** strace does not follow the processes that the server starts: git and tasks are neither counted nor killed. */
const STRACE = ['strace', '-f', '-b', 'execve', '-qq'] as const;
const SERVER = [process.execPath, CLI, 'serve'] as const;

/** Skips the test, with the reason, if strace is missing or the kernel does not permit tracing. */
export async function straceOrSkip(context: TestContext): Promise<void> {
  const tried = await runBounded([...STRACE, '-o', '/dev/null', '-e', 'trace=none', 'true'], 10_000);
  if (!tried.ok) context.skip(`strace does not work here: ${tried.problem}`);
}

/** The argv of a server that is killed when one of its threads starts its nth call of this kind. */
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

/** The argv of a server whose calls are written to `file`, one per line, with the paths of file descriptors. */
export function serverTraced(calls: string, file: string): string[] {
  return [...STRACE, '-y', '-s', '80', '-o', file, '-e', `trace=${calls}`, ...SERVER];
}
