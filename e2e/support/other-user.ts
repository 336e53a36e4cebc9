/** A local user of their own for one test. Needs root. */

import { spawnSync } from 'node:child_process';
import { onTestFinished } from 'vitest';

export interface OtherUser {
  uid: number;
  /** The words of a command that runs what follows as them. */
  become: readonly string[];
}

/** Null when one can be made here, else why not, for the name of a skipped test. */
export function noOtherUser(): string | null {
  if (process.getuid?.() !== 0) return 'only root may add a user';
  const missing = ['useradd', 'userdel', 'setpriv'].filter(
    (program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0,
  );
  return missing.length === 0 ? null : `${missing.join(', ')} not found`;
}

/** Until the test ends. */
export function addUser(): OtherUser {
  const name = `iac-test-${process.pid}`;
  const added = spawnSync('useradd', ['--no-create-home', '--shell', '/usr/sbin/nologin', name]);
  if (added.status !== 0) throw new Error(`No user could be added: ${added.stderr}`);
  onTestFinished(() => void spawnSync('userdel', [name]));
  const uid = Number(spawnSync('id', ['-u', name]).stdout.toString());
  const gid = Number(spawnSync('id', ['-g', name]).stdout.toString());
  return { uid, become: ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'] };
}
