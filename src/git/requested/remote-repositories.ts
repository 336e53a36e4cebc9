/** Repositories that requests name: one mirror for each address, shared by all who show that they may read it. */

import { createHash } from 'node:crypto';
import { mkdir, readdir, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { RunnerError } from '../../errors.ts';
import type { GitAuth } from '../../runs/deployments/deployment.ts';
import { checkRemoteUrl, type RemoteUrl, type RemoteUrlRules } from '../../runs/texts/remote-url.ts';
import { MINUTE } from '../../units.ts';
import { createGit, type Git } from '../git.ts';
import { createMirrorKeeper, type MirrorKeeper, type MirrorLog } from '../own/mirror-keeper.ts';
import { clearMirrorLock, createMirrorLock, type MirrorLock } from '../own/mirror-lock.ts';
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

const LOCK_WAIT_MS = 10 * MINUTE;

interface RemoteRequest {
  /** As a request named it; credentials in it count when there is no `auth`. */
  url: string;
  auth: GitAuth | null;
  /** Ends what `open` begins and, later on, the agent that holds an ssh key. */
  signal?: AbortSignal | undefined;
}

export interface RemoteRepositories {
  /**
   * Speaks to nobody yet. Release what it gives. Throws RunnerError for an address or credentials that are refused,
   * GitError when this machine or its name servers are at fault.
   */
  open(request: RemoteRequest): Promise<RemoteRepository>;
  /** Removes the mirrors that nobody used for so long. */
  removeUnused(unusedMs: number): Promise<void>;
}

export interface WritableRepositories extends RemoteRepositories {
  open(request: RemoteRequest): Promise<WritableRepository>;
}

export interface RemoteRepositoriesOptions {
  /** Absolute, e.g. <data>/repositories; made when it is not there. Nobody else's. */
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
  /** Throws when the disk is too full to begin with anything. */
  requireSpace?: () => Promise<void>;
  log: MirrorLog;
  /** Absolute and short; holds the folders of ssh. Whatever is left there after a crash may be removed. */
  tempDir: string;
  lookup?: Lookup;
  /** After how long a killed process's lock is free. Default 10 s. */
  lockStaleMs?: number;
}

export function createRemoteRepositories(options: RemoteRepositoriesOptions): WritableRepositories {
  const { directory } = options;
  const mirrors = new Map<string, { lock: MirrorLock; keeper: MirrorKeeper }>();

  function mirrorAt(place: string) {
    const known = mirrors.get(place);
    if (known) return known;
    const { log, requireSpace, lockStaleMs } = options;
    const stale = lockStaleMs === undefined ? {} : { staleMs: lockStaleMs };
    const lock = createMirrorLock({ directory: place, waitMs: LOCK_WAIT_MS, ...stale });
    const made = { lock, keeper: createMirrorKeeper({ directory: place, lock, log, requireSpace }) };
    mirrors.set(place, made);
    return made;
  }

  return {
    async open({ url, auth, signal }) {
      const remote = checkRemoteUrl(url, { ...options.rules, what: 'The address of the repository' });
      if (!remote.ok) throw new RunnerError(remote.problem);
      const credentials = credentialsFor(remote, auth);
      const pin = await pinHost(remote, { network: options.network, signal, lookup: options.lookup });
      const ssh = auth?.type === 'ssh' ? await openSsh(options, remote, auth, pin, signal) : null;
      const git = gitFor(options, { remote, credentials, pin, ssh });
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const place = join(directory, `${digest(remote.url)}.git`);
      return createRemoteRepository({
        ...options,
        git,
        directory: place,
        keeper: mirrorAt(place).keeper,
        beforeUse: async () => {
          if (pin.settings.length > 0) await requirePinning(git, place);
          await markUsed(place);
        },
        release: async () => ssh?.release(),
      });
    },
    async removeUnused(unusedMs) {
      const names = await readdir(directory).catch(() => []);
      for (const place of names
        .filter((name) => /^[0-9a-f]{32}\.git$/.test(name))
        .map((name) => join(directory, name))) {
        if (!(await isUnused(place, unusedMs))) continue;
        await mirrorAt(place).lock.hold(undefined, async () => {
          if (await isUnused(place, unusedMs)) await remove(place);
        });
        mirrors.delete(place);
      }
    },
  };
}

/**
 * At start, by the one server of the data directory: locks that a killed one left are not waited for. Its gits must
 * have been ended before.
 */
export async function clearRemoteLocks(directory: string): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  const locked = names.flatMap((name) => /^(.*\.git)\.lock(-\w+)?$/.exec(name)?.[1] ?? []);
  await Promise.all([...new Set(locked)].map((name) => clearMirrorLock(join(directory, name))));
}

/** For http(s). Throws RunnerError for credentials of another kind than the address asks for. */
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

function openSsh(
  options: RemoteRepositoriesOptions,
  { host, port }: RemoteUrl,
  { privateKey, knownHosts }: Extract<GitAuth, { type: 'ssh' }>,
  { address }: HostPin,
  signal: AbortSignal | undefined,
): Promise<SshSession> {
  const { path, home, tempDir, network } = options;
  const environment = withoutOperator(network);
  return openSshSession({
    privateKey,
    knownHosts,
    host,
    port: port ?? 22,
    address,
    path,
    home,
    tempDir,
    environment,
    signal,
  });
}

function gitFor(
  { path, timeoutMs, network }: RemoteRepositoriesOptions,
  parts: { remote: RemoteUrl; credentials: RemoteUrl['credentials']; pin: HostPin; ssh: SshSession | null },
): Git {
  const { remote, credentials, pin, ssh } = parts;
  const own = withoutOperator(network);
  const direct = pin.proxyOnly ? /^no_proxy$/i : /^$/;
  return createGit({
    path,
    // Not the operator's, whose .netrc would open what the request itself may not.
    home: '/dev/null',
    remote: requestedRemote(remote, credentials),
    remoteSettings: pin.settings,
    timeoutMs,
    network: Object.fromEntries(Object.entries(own).filter(([name]) => !direct.test(name))),
    ...(ssh ? { sshCommand: ssh.command } : {}),
  });
}

/** The operator's agent holds keys that no request has brought. */
function withoutOperator({ SSH_AUTH_SOCK: _, ...others }: Record<string, string>): Record<string, string> {
  return others;
}

/** An older git would take no notice of the addresses that were judged, and ask again. */
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
