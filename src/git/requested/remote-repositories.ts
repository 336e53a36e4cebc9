/** Repositories that requests name: one mirror for each address, shared by all requests that prove their access. */

import { createHash } from 'node:crypto';
import { mkdir, readdir, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { RunnerError } from '../../errors.ts';
import type { GitAuth } from '../../runs/deployments/deployment.ts';
import { checkRemoteUrl, type RemoteUrl, type RemoteUrlRules } from '../../runs/texts/remote-url.ts';
import { createGit, type Git } from '../git.ts';
import {
  clearMirrorLock,
  createMirrorKeeper,
  type MirrorKeeper,
  type MirrorLog,
} from '../own/mirror-keeper.ts';
import { requestedRemote } from './remote.ts';
import {
  createRemoteRepository,
  type RemoteRepository,
  type WritableRepository,
} from './remote-repository.ts';
import { remove } from './repository-directory.ts';
import { type HostPin, type Lookup, pinHost } from './resolve-host.ts';
import { openSshSession, type SshSession } from './ssh-session.ts';

export type { RemoteRepository, WritableRepository } from './remote-repository.ts';

interface RemoteRequest {
  /** The address as in the request. Credentials in it are used if there is no `auth`. */
  url: string;
  auth: GitAuth | null;
  /** Ends what `open` starts and, later on, the agent that has an ssh key. */
  signal?: AbortSignal | undefined;
}

export interface RemoteRepositories {
  /**
   * Does not use the remote yet. The caller releases the repository. Throws RunnerError for an address or credentials
   * that are refused, GitError if this machine or its name servers are at fault.
   */
  open(request: RemoteRequest): Promise<RemoteRepository>;
  /** Removes the mirrors that nobody has used for this time. */
  removeUnused(unusedMs: number): Promise<void>;
}

export interface WritableRepositories extends RemoteRepositories {
  open(request: RemoteRequest): Promise<WritableRepository>;
}

export interface RemoteRepositoriesOptions {
  /** Absolute, e.g. <data>/repositories. It is created if it does not exist, and belongs to this part alone. */
  directory: string;
  /** PATH of the children. */
  path: string;
  /** The operator's home: only its .ssh/known_hosts is read. */
  home: string;
  /** Time limit of one git process. */
  timeoutMs: number;
  rules: Omit<RemoteUrlRules, 'what'>;
  /** Proxy and certificate variables, and the marker of this server's children. */
  network: Record<string, string>;
  /** Throws if the disk is too full to start anything. */
  requireSpace?: () => Promise<void>;
  log: MirrorLog;
  /** Absolute and short; for the folders of ssh. Everything that a crash leaves there may be removed. */
  tempDir: string;
  lookup?: Lookup;
  /** After how long the lock of a killed process is free. Default 10 s. */
  lockStaleMs?: number;
}

export function createRemoteRepositories(options: RemoteRepositoriesOptions): WritableRepositories {
  const { directory, network, rules, lookup } = options;
  const keepers = new Map<string, MirrorKeeper>();

  function keeperOf(place: string): MirrorKeeper {
    const keeper = keepers.get(place) ?? createMirrorKeeper({ ...options, directory: place });
    keepers.set(place, keeper);
    return keeper;
  }

  return {
    async open({ url, auth, signal }) {
      const remote = checkRemoteUrl(url, { ...rules, what: 'The address of the repository' });
      if (!remote.ok) throw new RunnerError(remote.problem);
      const credentials = credentialsFor(remote, auth);
      const pin = await pinHost(remote, { network, signal, lookup });
      const ssh = auth?.type === 'ssh' ? await openSsh(options, { remote, auth, pin, signal }) : null;
      const git = gitFor(options, { remote, credentials, pin, ssh });
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const place = join(directory, `${digest(remote.url)}.git`);
      return createRemoteRepository({
        ...options,
        git,
        directory: place,
        keeper: keeperOf(place),
        beforeUse: async () => {
          if (pin.settings.length > 0) await requirePinning(git, place);
          await markUsed(place);
        },
        release: async () => ssh?.release(),
      });
    },
    async removeUnused(unusedMs) {
      const names = await readdir(directory).catch(() => []);
      for (const name of names.filter((found) => /^[0-9a-f]{32}\.git$/.test(found))) {
        const place = join(directory, name);
        if (!(await isUnused(place, unusedMs))) continue;
        await keeperOf(place).hold(undefined, async () => {
          if (await isUnused(place, unusedMs)) await remove(place);
        });
        keepers.delete(place);
      }
    },
  };
}

/**
 * Removes the locks that a killed server left, so that nobody waits for them. Only the one server of the data directory
 * may call it, at its start, after the gits of the killed server were ended.
 */
export async function clearRemoteLocks(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  const locked = names.flatMap((name) => /^(.*\.git)\.lock(-\w+)?$/.exec(name)?.[1] ?? []);
  await Promise.all([...new Set(locked)].map((name) => clearMirrorLock(join(directory, name))));
}

/** Returns the credentials for http(s). Throws RunnerError for credentials that do not fit the protocol. */
function credentialsFor(
  { protocol, credentials }: RemoteUrl,
  auth: GitAuth | null,
): RemoteUrl['credentials'] {
  if (protocol === 'ssh') {
    if (auth?.type === 'ssh') return null;
    throw new RunnerError('An ssh address needs credentials of type ssh, with a private key.', {
      nextAction: 'Send git_auth with a private_key, or use an https address.',
    });
  }
  if (auth?.type === 'ssh' || (auth && protocol !== 'https' && protocol !== 'http')) {
    throw new RunnerError(`Credentials of type ${auth.type} do not fit an address of ${protocol}.`, {
      nextAction: 'Correct git_url or git_auth.',
    });
  }
  return auth ? { username: auth.username, password: auth.password } : credentials;
}

interface SshParts {
  remote: RemoteUrl;
  auth: Extract<GitAuth, { type: 'ssh' }>;
  pin: HostPin;
  signal: AbortSignal | undefined;
}

function openSsh(
  { path, home, tempDir, network }: RemoteRepositoriesOptions,
  { remote: { host, port }, auth: { privateKey, knownHosts }, pin, signal }: SshParts,
): Promise<SshSession> {
  return openSshSession({
    privateKey,
    knownHosts,
    host,
    port: port ?? 22,
    address: pin.address,
    path,
    home,
    tempDir,
    environment: withoutOperator(network),
    signal,
  });
}

function gitFor(
  { path, timeoutMs, network }: RemoteRepositoriesOptions,
  parts: { remote: RemoteUrl; credentials: RemoteUrl['credentials']; pin: HostPin; ssh: SshSession | null },
): Git {
  const { remote, credentials, pin, ssh } = parts;
  const direct = pin.proxyOnly ? /^no_proxy$/i : /^$/;
  const variables = Object.entries(withoutOperator(network)).filter(([name]) => !direct.test(name));
  return createGit({
    path,
    // The operator's home is not used, because its .netrc could open repositories that the request may not.
    home: '/dev/null',
    remote: requestedRemote(remote, credentials),
    remoteSettings: pin.settings,
    timeoutMs,
    network: Object.fromEntries(variables),
    ...(ssh && { sshCommand: ssh.command }),
  });
}

/** The agent of the operator has keys that no request has sent. */
function withoutOperator({ SSH_AUTH_SOCK: _, ...others }: Record<string, string>): Record<string, string> {
  return others;
}

/** An older git would ignore the addresses that were checked, and look the host up again. */
async function requirePinning(git: Git, gitDirectory: string): Promise<void> {
  const output = await git.read('Asking git for its version failed', ['version'], { gitDirectory });
  const [, major = 0, minor = 0] = /(\d+)\.(\d+)/.exec(output.toString())?.map(Number) ?? [];
  if (major > 2 || (major === 2 && minor >= 37)) return;
  throw new RunnerError(`git ${major}.${minor} cannot be held to the address of a host that was checked.`, {
    nextAction: 'Install git 2.37 or newer, or list the host in GIT_ALLOWED_HOSTS.',
  });
}

function digest(url: string): string {
  return createHash('sha256').update(url).digest('hex').slice(0, 32);
}

async function markUsed(place: string): Promise<void> {
  const now = new Date();
  await utimes(place, now, now).catch(() => undefined);
}

async function isUnused(place: string, unusedMs: number): Promise<boolean> {
  const found = await stat(place).catch(() => null);
  return found !== null && Date.now() - found.mtimeMs > unusedMs;
}
