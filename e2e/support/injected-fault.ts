/** Makes system calls of a running process fail or take long, by strace. */

import { spawnSync } from 'node:child_process';
import { execa } from 'execa';
import { until } from './until.ts';

export interface InjectedFault {
  /** Makes the calls work as usual from here on. */
  stop(): Promise<void>;
}

/** Returns null if faults can be injected here, else the reason, for the title of a skipped test. */
export function noInjection(): string | null {
  const tried = spawnSync('strace', ['-f', '-o', '/dev/null', 'true'], { stdio: 'ignore' });
  if (tried.error) return 'strace is not installed';
  return tried.status === 0 ? null : 'strace may not trace here';
}

/** `how` is the value of --inject of strace(1), e.g. `fdatasync:error=EIO`. All threads are affected. */
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
