/** Local users that exist for one test. Needs root. */

import { spawnSync } from 'node:child_process';
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { onTestFinished } from 'vitest';

export interface OtherUser {
  name: string;
  uid: number;
  gid: number;
  /** The command prefix with which root runs a program as this user. */
  become: readonly string[];
}

/** Returns null if a user can be created here, else the reason, for the title of a skipped test. */
export function noOtherUser(...alsoNeeded: string[]): string | null {
  if (process.getuid?.() !== 0) return 'only root may add a user';
  const missing = ['useradd', 'userdel', 'groupadd', 'setpriv', ...alsoNeeded].filter(
    (program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0,
  );
  return missing.length === 0 ? null : `${missing.join(', ')} not found`;
}

/** Creates a user that exists until the test ends. */
export function addUser(purpose = 'test'): OtherUser {
  const name = `iac-${purpose}-${process.pid}`;
  root('useradd', '--no-create-home', '--shell', '/bin/sh', name);
  onTestFinished(() => void spawnSync('userdel', [name]));
  return userOf(name, []);
}

export interface ServerAndSteps {
  /** The server runs as this ordinary user. */
  server: OtherUser;
  /** The steps run as this user. */
  steps: OtherUser;
  /** Both users are in this group. */
  group: number;
}

/** Creates users that exist until the test ends. */
export function addServerAndSteps(): ServerAndSteps {
  const [server, steps] = [addUser('server'), addUser('steps')];
  const name = `iac-both-${process.pid}`;
  root('groupadd', name);
  onTestFinished(() => void spawnSync('groupdel', [name]));
  for (const user of [server, steps]) root('usermod', '--append', '--groups', name, user.name);
  const group = Number(output('getent', 'group', name).split(':')[2]);
  return { server: userOf(server.name, [group]), steps: userOf(steps.name, [group]), group };
}

/** Permits one user to run exactly this command as the other, until the test ends. Returns the words that do so. */
export function allowSudo(from: OtherUser, to: OtherUser, command: readonly string[]): string[] {
  const file = `/etc/sudoers.d/${from.name}`;
  const lines = [
    // This is the default from sudo 1.9.14 on.
    `Defaults:${from.name} use_pty`,
    `${from.name} ALL=(${to.name}) NOPASSWD: ${command.join(' ')} --stream`,
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  chmodSync(file, 0o440);
  onTestFinished(() => rmSync(file, { force: true }));
  return ['sudo', '-n', '-u', to.name, ...command];
}

function userOf(name: string, groups: readonly number[]): OtherUser {
  const [uid, gid] = [Number(output('id', '-u', name)), Number(output('id', '-g', name))];
  const others = groups.length === 0 ? '--clear-groups' : `--groups=${groups.join(',')}`;
  return { name, uid, gid, become: ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, others] };
}

function root(program: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(program, args);
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed: ${stderr}`);
}

function output(program: string, ...args: string[]): string {
  return spawnSync(program, args).stdout.toString();
}
