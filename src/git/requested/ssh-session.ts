/** ssh for one request: its key is in an agent of its own, never in a file, and only known host keys are accepted. */

import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError, GitError, RunnerError } from '../../errors.ts';
import { makeOwnFolder } from '../../make-folder.ts';
import { type CaptureResult, captureProcess } from '../../process/capture.ts';
import { HOUR, SECOND } from '../../units.ts';
import { mainLine } from '../failure.ts';
import { fileError, remove } from './repository-directory.ts';

/** The programs of OpenSSH are quick, as they ask nobody. */
const TOOL_TIMEOUT_MS = 20 * SECOND;
const AGENT_START_MS = 10 * SECOND;
/** No clone takes this long. The key is removed at the end of the session, or after this time if this program is killed. */
const KEY_LIFETIME_MS = 4 * HOUR;
/** The length of sun_path of a Unix socket (unix(7)). */
const MAX_SOCKET_PATH_BYTES = 107;

export interface SshSession {
  /** For GIT_SSH_COMMAND. */
  command: string;
  /** Ends the agent and removes its folder. May be called more than once. */
  release(): Promise<void>;
}

export interface SshSessionOptions {
  /** In a form that ssh-add reads, without a passphrase. */
  privateKey: string;
  /** Lines of a known_hosts file (sshd(8)), or null: the operator's file must know the host. */
  knownHosts: string | null;
  /** Canonical; IPv6 in brackets. */
  host: string;
  port: number;
  /** The one address to connect to, or null: ssh looks the host up itself. */
  address: string | null;
  /** PATH of the children. */
  path: string;
  /** The operator's home, for its .ssh/known_hosts. */
  home: string;
  /** Absolute and short, as a socket's path is limited: a private folder is made in it. */
  tempDir: string;
  /** Variables that every child gets. */
  environment: Record<string, string>;
  /** Also ends the session. */
  signal?: AbortSignal | undefined;
}

/** Throws RunnerError for a key or a host that cannot be used, GitError if this machine is at fault. */
export async function openSshSession(options: SshSessionOptions): Promise<SshSession> {
  const { signal, tempDir } = options;
  signal?.throwIfAborted();
  makeOwnFolder('DEPLOY_DIR', tempDir);
  const directory = await mkdtemp(join(tempDir, 'ssh-')).catch((error: unknown) => {
    throw fileError(`A folder for ssh cannot be made in ${tempDir}`, error);
  });
  const ended = new AbortController();
  const socket = join(directory, 'agent');
  let agent: Promise<unknown> = Promise.resolve();
  let released: Promise<void> | null = null;
  const release = (): Promise<void> => {
    released ??= (async () => {
      signal?.removeEventListener('abort', onAbort);
      ended.abort();
      await agent;
      await remove(directory);
    })();
    return released;
  };
  const onAbort = (): void => void release().catch(() => undefined);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    if (Buffer.byteLength(socket) > MAX_SOCKET_PATH_BYTES) {
      throw new GitError('unavailable', `The path ${socket} is too long for a socket.`, {
        nextAction: 'Set DATA_DIR to a shorter path.',
      });
    }
    const knownHosts = join(directory, 'known_hosts');
    const content = options.knownHosts ?? (await operatorsKnownHosts(options));
    await writeFile(knownHosts, `${content}\n`, { mode: 0o600, flag: 'wx' });
    const start = startAgent(options, socket, ended.signal);
    agent = start.ended;
    await start.ready;
    await addKey(options, socket);
    return { command: sshCommand(options, { socket, knownHosts }), release };
  } catch (error) {
    await release();
    signal?.throwIfAborted();
    throw error;
  }
}

/** Returns the name under which ssh looks up the key of a host. */
function knownHostName({ host, port }: Pick<SshSessionOptions, 'host' | 'port'>): string {
  const bare = host.replace(/^\[|\]$/g, '');
  return port === 22 ? bare : `[${bare}]:${port}`;
}

function sshCommand(options: SshSessionOptions, files: { socket: string; knownHosts: string }): string {
  // ssh expands % and splits at spaces even in a value of its own.
  const file = (path: string): string => `"${path.replaceAll('%', '%%')}"`;
  const settings = [
    'BatchMode=yes',
    'ConnectTimeout=15',
    'ServerAliveInterval=15',
    'StrictHostKeyChecking=yes',
    `UserKnownHostsFile=${file(files.knownHosts)}`,
    'GlobalKnownHostsFile=/dev/null',
    'UpdateHostKeys=no',
    'CheckHostIP=no',
    'CanonicalizeHostname=no',
    // ssh offers the one key of the agent, and none of the operator's files.
    `IdentityAgent=${file(files.socket)}`,
    'IdentityFile=none',
    'PreferredAuthentications=publickey',
    'ForwardAgent=no',
    'ClearAllForwardings=yes',
    'ControlMaster=no',
    'ControlPath=none',
  ];
  if (options.address !== null) {
    settings.push(`HostName=${options.address}`, `HostKeyAlias=${knownHostName(options)}`);
  }
  // git runs this line in a shell. ssh reads no configuration file, which could start programs or offer other keys.
  return ['ssh -F /dev/null', ...settings.map((setting) => quoted(`-o${setting}`))].join(' ');
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** Returns the operator's own file if it knows the host. Only ssh-keygen can say that, since names may be hashed. */
async function operatorsKnownHosts(options: SshSessionOptions): Promise<string> {
  const file = join(options.home, '.ssh/known_hosts');
  const name = knownHostName(options);
  const content = await readFile(file, 'utf8').catch(() => null);
  if (content !== null) {
    const found = await run(options, ['ssh-keygen', '-F', name, '-f', file]);
    if (found.kind === 'exited' && found.exitCode === 0) return content;
  }
  throw new RunnerError(`The host key of ${name} is not known, so it cannot be trusted.`, {
    nextAction: 'Send its line of known_hosts with the key, as `ssh-keyscan` prints it, after checking it.',
  });
}

function startAgent(
  options: SshSessionOptions,
  socket: string,
  signal: AbortSignal,
): { ready: Promise<void>; ended: Promise<unknown> } {
  // The agent stays in the foreground, so that it is a child like any other, and its marker finds it after a crash.
  const ended = captureProcess({
    argv: ['ssh-agent', '-D', '-a', socket],
    cwd: '/',
    env: childEnvironment(options),
    timeoutMs: KEY_LIFETIME_MS,
    signal,
  }).catch((error: unknown): CaptureResult => {
    return { kind: 'not_started', code: 'UNKNOWN', message: describeError(error) };
  });
  return { ready: untilItListens(ended, socket, signal), ended };
}

async function untilItListens(
  ended: Promise<CaptureResult>,
  socket: string,
  signal: AbortSignal,
): Promise<void> {
  let early: CaptureResult | null = null;
  void ended.then((result) => {
    early = result;
  });
  const deadline = Date.now() + AGENT_START_MS;
  while (early === null && Date.now() < deadline) {
    signal.throwIfAborted();
    if (await answers(socket)) return;
    await sleep(5);
  }
  throw new GitError('unavailable', `ssh-agent does not run here: ${endOf(early)}.`, {
    nextAction: 'Install the client of OpenSSH.',
  });
}

/** The file of the socket exists a moment before its program listens. */
function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect(socket);
    connection.once('error', () => resolve(false));
    connection.once('connect', () => {
      connection.destroy();
      resolve(true);
    });
  });
}

/** Gives the key on standard input, since ssh-add needs no file. */
async function addKey(options: SshSessionOptions, socket: string): Promise<void> {
  // ssh-add refuses a key without its last line end, or with line ends of Windows, as "invalid format".
  const key = `${options.privateKey.replace(/\r\n?/g, '\n').trim()}\n`;
  const argv = ['ssh-add', '-q', '-t', String(KEY_LIFETIME_MS / SECOND), '-'] as const;
  const added = await run(options, argv, { SSH_AUTH_SOCK: socket }, key);
  if (added.kind === 'exited' && added.exitCode === 0) return;
  if (added.kind === 'exited') {
    throw new RunnerError(`The private key cannot be used: ${mainLine(added.stderr)}.`, {
      nextAction: 'Send it complete, in the form of OpenSSH or PEM, without a passphrase.',
    });
  }
  throw new GitError('unavailable', `ssh-add did not end as it should: ${endOf(added)}.`);
}

function run(
  options: SshSessionOptions,
  argv: readonly [string, ...string[]],
  environment: Record<string, string> = {},
  input?: string,
): Promise<CaptureResult> {
  return captureProcess({
    argv,
    cwd: '/',
    env: { ...childEnvironment(options), ...environment },
    timeoutMs: TOOL_TIMEOUT_MS,
    ...(input === undefined ? {} : { input }),
    ...(options.signal ? { signal: options.signal } : {}),
  });
}

function childEnvironment({ environment, path }: SshSessionOptions): Record<string, string> {
  return { ...environment, PATH: path, LC_ALL: 'C', SSH_ASKPASS: 'false', SSH_ASKPASS_REQUIRE: 'never' };
}

function endOf(result: CaptureResult | null): string {
  if (result === null) return 'it did not start in time';
  if (result.kind === 'not_started') return result.code;
  return result.kind === 'exited' ? mainLine(result.stderr) : result.kind.replace('_', ' ');
}
