/** The words of a command that leads to this machine as if to another host. */

import { writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { startSshd } from '../../src/git/sshd.fixture.ts';

export { noSshd } from '../../src/git/sshd.fixture.ts';

/** Until the test ends. `folder` is made. Resolves to `ssh … user@127.0.0.1`. */
export async function openSshWay(folder: string): Promise<string[]> {
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
