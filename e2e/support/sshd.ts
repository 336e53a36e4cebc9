/** A command prefix that reaches this machine by ssh, as if it were another host. */

import { writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { startSshd } from '../../src/git/sshd.fixture.ts';

export { noSshd } from '../../src/git/sshd.fixture.ts';

/** Starts sshd until the test ends and creates `folder`. Resolves to `ssh … user@127.0.0.1`. */
export async function startSshHost(folder: string): Promise<string[]> {
  const { port, hostKey } = await startSshd(folder);
  await writeFile(join(folder, 'known_hosts'), `[127.0.0.1]:${port} ${hostKey}\n`);
  const options = [
    `UserKnownHostsFile=${join(folder, 'known_hosts')}`,
    'BatchMode=yes',
    'IdentitiesOnly=yes',
  ];
  return [
    ...['ssh', '-F', 'none', '-T', '-i', join(folder, 'client'), '-p', String(port)],
    ...options.flatMap((option) => ['-o', option]),
    `${userInfo().username}@127.0.0.1`,
  ];
}
