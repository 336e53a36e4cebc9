/** Runs one short command with a time limit, and says in a few words why it failed. */

import { execa } from 'execa';

export type CommandOutcome = { ok: true; output: string } | { ok: false; problem: string };

/** Never throws. `output` is the stdout and stderr of the command. The whole process group is ended. */
export async function runBounded(argv: readonly string[], timeoutMs: number): Promise<CommandOutcome> {
  const [program = '', ...rest] = argv;
  const result = await execa(program, rest, {
    all: true,
    reject: false,
    stdin: 'ignore',
    timeout: timeoutMs,
    forceKillAfterDelay: 2_000,
    killDescendants: true,
    env: { DEBIAN_FRONTEND: 'noninteractive', PIP_DISABLE_PIP_VERSION_CHECK: '1' },
  });
  const { all: output = '', failed, code, timedOut, shortMessage } = result;
  if (!failed) return { ok: true, output };
  if (code === 'ENOENT') return { ok: false, problem: 'not found' };
  if (timedOut) return { ok: false, problem: `no end after ${timeoutMs / 1000} s` };
  return { ok: false, problem: lastLine(output) ?? shortMessage ?? 'failed' };
}

function lastLine(text: string): string | undefined {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.findLast((line) => line !== '')?.slice(0, 200);
}
