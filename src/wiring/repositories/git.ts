/** Builds the git of this program: for its own repository, and for repositories that requests name. */

import type { Logger } from 'pino';
import { type RepositoryConfig, readSecret } from '../../config/repositories.ts';
import type { Config } from '../../config.ts';
import { requireFreeSpace } from '../../git/disk-space.ts';
import { createGit, type Git } from '../../git/git.ts';
import {
  clearRemoteLocks,
  createRemoteRepositories,
  type RemoteRepositoriesOptions,
  type WritableRepositories,
} from '../../git/requested/remote-repositories.ts';
import { DAY, MINUTE } from '../../units.ts';

export const GIT_TIMEOUT_MS = 10 * MINUTE;
const UNUSED_MIRROR_MS = 30 * DAY;

type Base = Pick<Config, 'dataDir' | 'plumbing'>;

/**
 * Returns the variable that is in the environment of every git of this server, so that the next server finds those that
 * outlive this one.
 */
export function gitMarker({ dataDir }: Pick<Config, 'dataDir'>): string {
  return `IAC_RUNNER_DATA=${dataDir}`;
}

export function requireSpace({ dataDir, workspaceDir, diskFloorBytes: floorBytes }: Config): Promise<void> {
  return requireFreeSpace({ directories: [dataDir, workspaceDir], floorBytes });
}

/** The token may be in a file that is replaced from time to time, so it is read for each git. */
export function buildGit(config: Config, { url, token }: RepositoryConfig, timeoutMs: number): Git {
  const common = { ...placeOf(config), timeoutMs, network: serverNetwork(config) };
  const build = (value: string | null) => createGit({ ...common, remote: { url, token: value } });
  if (token === null || 'value' in token) return build(token?.value ?? null);
  let last: { value: string; git: Git } | null = null;
  const current = (): Git => {
    const value = readSecret(token);
    if (last?.value !== value) last = { value, git: build(value) };
    return last.git;
  };
  return {
    remote: current().remote,
    run: async (args, options) => current().run(args, options),
    read: async (what, args, options) => current().read(what, args, options),
  };
}

/** Returns the network variables of every git of a server, with the variable by which the next server finds that git. */
function serverNetwork({ plumbing, dataDir }: Base): Record<string, string> {
  return { ...networkOf(plumbing), IAC_RUNNER_DATA: dataDir };
}

type Parts = Pick<RemoteRepositoriesOptions, 'directory' | 'rules' | 'tempDir'>;

/** Builds the repositories of a server, which alone uses the directory. */
export async function buildServerRepositories(
  config: Config,
  parts: Parts,
  log: Logger,
): Promise<WritableRepositories> {
  await clearRemoteLocks(parts.directory);
  const network = serverNetwork(config);
  return buildRepositories(config, { ...parts, network, requireSpace: () => requireSpace(config) }, log);
}

/** Builds repositories, and removes the mirrors that nobody has used for long. */
export function buildRepositories(
  base: Base,
  parts: Parts & Partial<Pick<RemoteRepositoriesOptions, 'network' | 'requireSpace'>>,
  log: Logger,
): WritableRepositories {
  const repositories = createRemoteRepositories({
    ...placeOf(base),
    timeoutMs: GIT_TIMEOUT_MS,
    network: networkOf(base.plumbing),
    log,
    ...parts,
  });
  repositories.removeUnused(UNUSED_MIRROR_MS).catch((err: unknown) => {
    log.warn({ err }, 'mirrors that nobody uses could not be removed');
  });
  return repositories;
}

function placeOf({ plumbing, dataDir }: Base): { path: string; home: string } {
  return { path: plumbing.PATH ?? '', home: plumbing.HOME ?? dataDir };
}

function networkOf(plumbing: Readonly<Record<string, string>>): Record<string, string> {
  const names = ['SSL_CERT_FILE', 'SSL_CERT_DIR', 'SSH_AUTH_SOCK', 'HTTPS_PROXY', 'HTTP_PROXY', 'NO_PROXY'];
  return Object.fromEntries(Object.entries(plumbing).filter(([name]) => names.includes(name)));
}
