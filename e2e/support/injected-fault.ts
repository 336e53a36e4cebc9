/** Makes system calls of a running process fail or take long, by strace. */

import { spawnSync } from 'node:child_process';
import { execa } from 'execa';
import { until } from './until.ts';

export interface InjectedFault {
  /** From here on the calls are as always. */
  stop(): Promise<void>;
}

/** Null when faults can be injected here, else why not, for the name of a skipped test. */
export function noInjection(): string | null {
  const tried = spawnSync('strace', ['-f', '-o', '/dev/null', 'true'], { stdio: 'ignore' });
  if (tried.error) return 'strace is not installed';
  return tried.status === 0 ? null : 'strace may not trace here';
}

/** `how` as in strace(1), --inject, e.g. `fdatasync:error=EIO`. Meets all threads. */
export async function injectFault(pid: number, how: string): Promise<InjectedFault> {
  const [call = ''] = how.split(':');
  const args = ['-f', '-o', '/dev/null', '-e', `trace=${call}`, '-e', `inject=${how}`, '-p', String(pid)];
  const child = execa('strace', args, { stdin: 'ignore', stdout: 'ignore', buffer: false, reject: false });
  let said = '';
  child.stderr.on('data', (chunk) => {
    said += String(chunk);
  });
  await until('strace to attach', () => (/attached/.test(said) ? true : null), { seen: () => said });
  return {
    async stop() {
      child.kill('SIGINT');
      await child;
    },
  };
}
