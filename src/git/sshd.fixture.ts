/** A server of OpenSSH on loopback that lets one key in, until the test ends. */

import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';

const SSHD = '/usr/sbin/sshd';
const START_LIMIT_MS = 10_000;

export interface Sshd {
  port: number;
  /** `ssh-ed25519 AAAA…`, without a host in front. */
  hostKey: string;
  /** Holds the key that is let in, `client`; one that is not, `stranger`; and `authorized_keys`. */
  folder: string;
}

/** Null when one can be started here, else why not, for the name of a skipped test. */
export function noSshd(): string | null {
  return existsSync(SSHD) ? null : 'openssh-server is not installed';
}

/** `folder` is made. */
export async function startSshd(folder: string): Promise<Sshd> {
  await mkdir(folder, { mode: 0o700 });
  for (const name of ['host', 'client', 'stranger']) {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', join(folder, name)]);
  }
  await copyFile(join(folder, 'client.pub'), join(folder, 'authorized_keys'));
  // An sshd of root needs this folder, to which it confines its processes without privileges.
  if (userInfo().uid === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
  const port = await freePort();
  const settings = {
    Port: port,
    ListenAddress: '127.0.0.1',
    HostKey: join(folder, 'host'),
    AuthorizedKeysFile: join(folder, 'authorized_keys'),
    PidFile: 'none',
    StrictModes: 'no',
    UsePAM: 'no',
    PermitRootLogin: 'yes',
    PasswordAuthentication: 'no',
    AcceptEnv: 'GIT_PROTOCOL',
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
  for (const deadline = Date.now() + START_LIMIT_MS; !words.includes('listening'); await sleep(20)) {
    if (server.exitCode !== null || Date.now() > deadline) throw new Error(`sshd: ${words}`);
  }
  const [type, key] = (await readFile(join(folder, 'host.pub'), 'utf8')).split(' ');
  return { port, hostKey: `${type} ${key?.trim()}`, folder };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === 'string') throw new Error('No port.');
  return address.port;
}
