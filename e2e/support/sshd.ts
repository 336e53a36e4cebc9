/** A server of OpenSSH on loopback that lets one key in, and the words of the command that leads there. */

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { onTestFinished } from 'vitest';
import { freePort } from './free-port.ts';
import { until } from './until.ts';

const SSHD = '/usr/sbin/sshd';

/** Null when one can be started here, else why not, for the name of a skipped test. */
export function noSshd(): string | null {
  return existsSync(SSHD) ? null : 'openssh-server is not installed';
}

/** Until the test ends. `folder` is made. Resolves to `ssh … user@127.0.0.1`. */
export async function startSshd(folder: string): Promise<string[]> {
  await mkdir(folder, { mode: 0o700 });
  for (const name of ['host', 'client']) {
    await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', join(folder, name)]);
  }
  // Where root's sshd puts itself without privileges.
  if (userInfo().uid === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
  const port = await freePort();
  const settings = {
    Port: port,
    ListenAddress: '127.0.0.1',
    HostKey: join(folder, 'host'),
    AuthorizedKeysFile: join(folder, 'client.pub'),
    PidFile: 'none',
    StrictModes: 'no',
    UsePAM: 'no',
    PermitRootLogin: 'yes',
    PasswordAuthentication: 'no',
  };
  const lines = Object.entries(settings).map(([name, value]) => `${name} ${value}\n`);
  await writeFile(join(folder, 'config'), lines.join(''));
  const server = spawn(SSHD, ['-D', '-e', '-f', join(folder, 'config')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  onTestFinished(() => void server.kill('SIGKILL'));
  let words = '';
  server.stderr.on('data', (chunk: Buffer) => {
    words += chunk;
  });
  await until('sshd', () => (words.includes('listening') ? true : null), { seen: () => words });
  const hostKey = await readFile(join(folder, 'host.pub'), 'utf8');
  await writeFile(join(folder, 'known_hosts'), `[127.0.0.1]:${port} ${hostKey}`);
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
