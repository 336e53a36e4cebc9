/** Builds what syncs and previews need: git, mirror, workspace, executor. */

import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from 'pino';
import type { Config, SecretsConfig } from '../config.ts';
import { requireFreeSpace } from '../git/disk-space.ts';
import { createGit, type Git } from '../git/git.ts';
import { createMirror, type Mirror } from '../git/own/mirror.ts';
import { createWorkspace } from '../git/own/workspace.ts';
import { createScratchRepository } from '../git/requested/scratch-repository.ts';
import { gitTrust } from '../isolation/open-folder.ts';
import type { Pipeline, PipelineContext } from '../pipelines/pipeline.ts';
import { type PreviewOptions, preview } from '../pipelines/preview/preview.ts';
import { dueServices } from '../pipelines/selection/due-services.ts';
import { type SyncOptions, sync } from '../pipelines/sync/sync.ts';
import { taskSecrets } from '../process/environment.ts';
import { createRedactor } from '../process/output/redact.ts';
import type { Watchdog } from '../process/watchdog/watchdog.ts';
import type { RunStore } from '../runs/run-store.ts';
import { createDokployHashes } from '../stores/dokploy-hashes/dokploy-hashes.ts';
import { MINUTE } from '../units.ts';
import { buildExecutor, isElsewhere, stepPlumbing } from './executor.ts';

const GIT_TIMEOUT_MS = 10 * MINUTE;
/** Shorter, as anybody may open a pull request. */
const PREVIEW_GIT_TIMEOUT_MS = 2 * MINUTE;
const LOCK_WAIT_MS = 10 * MINUTE;

/** The folder for the files in which tasks say what they did. */
export function taskFiles({ dataDir }: Config): string {
  return path.join(dataDir, 'tmp');
}

/** Stands in the environment of every git of this server, so that the next one finds what outlived it. */
export function gitMarker({ dataDir }: Config): string {
  return `IAC_RUNNER_DATA=${dataDir}`;
}

export function requireSpace({ dataDir, workspaceDir, diskFloorBytes: floorBytes }: Config): Promise<void> {
  return requireFreeSpace({ directories: [dataDir, workspaceDir], floorBytes });
}

export function buildSync(config: Config, store: RunStore, watchdog: Watchdog | null, log: Logger) {
  const name = repositoryName(config.git.url);
  const git = buildGit(config, GIT_TIMEOUT_MS);
  const directory = path.join(config.workspaceDir, name);
  const mirror = createMirror({
    git,
    directory: path.join(config.dataDir, 'mirrors', `${name}.git`),
    branch: config.git.branch,
    signers: config.commitSigners,
    log,
    requireSpace: () => requireSpace(config),
  });
  const options: SyncOptions = {
    mirror,
    workspace: createWorkspace({
      git,
      mirror,
      directory,
      requireSpace: () => requireSpace(config),
    }),
    workspaceDir: config.workspaceDir,
    requireSignature: config.requireSignedCommits,
    now: Date.now,
    ledger: store.ledger,
    steps: store.steps,
    outside: config.dokploy && {
      hashes: createDokployHashes(config.dokploy),
      store,
      selfHeal: config.selfHeal,
      now: Date.now,
    },
    executor: buildExecutor(config, secretsOf(config), watchdog),
    invokeCommand: config.invokeCommand,
    plumbing: {
      ...stepPlumbing(config),
      ...(isElsewhere(config.executor.command) ? gitTrust(directory) : {}),
    },
    taskEnvironment: config.taskEnvironment,
    tempDir: taskFiles(config),
    mask: createRedactor(secretsOf(config)),
    timeoutMs: config.syncTimeoutMs,
    concurrency: config.syncConcurrency,
    lockWaitMs: LOCK_WAIT_MS,
  };
  const dueOptions = { ...options, retries: config.syncRetries };
  return {
    mirror,
    checkout: directory,
    pipeline: (context: PipelineContext<'sync'>) => sync(options, context),
    due: (scope: string, signal: AbortSignal) => dueServices(dueOptions, scope, signal),
  };
}

export function buildGit(config: Config, timeoutMs: number): Git {
  return createGit({
    path: config.plumbing.PATH ?? '',
    home: config.plumbing.HOME ?? config.dataDir,
    remote: { url: config.git.url, token: config.git.token },
    timeoutMs,
    network: { ...networkOf(config.plumbing), IAC_RUNNER_DATA: config.dataDir },
  });
}

export async function buildPreview(
  config: Config,
  store: RunStore,
  mirror: Mirror,
): Promise<Pipeline<'preview'>> {
  const git = buildGit(config, PREVIEW_GIT_TIMEOUT_MS);
  const directory = path.join(config.dataDir, 'previews');
  // What a killed server left there.
  await rm(directory, { recursive: true, force: true });
  const options: PreviewOptions = {
    mirror,
    async openScratch({ id }) {
      await requireSpace(config);
      const objects = path.join(mirror.directory, 'objects');
      return createScratchRepository({ git, directory: path.join(directory, id), objects });
    },
    ledger: store.ledger,
    taskEnvironment: config.taskEnvironment,
  };
  return (context) => preview(options, context);
}

/** What must never be seen in a log, even when a task prints it: also what only the server's own environment holds. */
export function secretsOf({ secrets }: { secrets: SecretsConfig }): string[] {
  return [...secrets.values, ...taskSecrets(secrets.others)];
}

/** The last part of the repository's address, as a folder name. */
function repositoryName(url: string): string {
  const last =
    url
      .replace(/\/+$/, '')
      .split(/[/:]/)
      .at(-1)
      ?.replace(/\.git$/, '') ?? '';
  return last.replace(/[^A-Za-z0-9._-]/g, '_').replace(/^\.+/, '') || 'repository';
}

export function networkOf(plumbing: Readonly<Record<string, string>>): Record<string, string> {
  const names = ['SSL_CERT_FILE', 'SSL_CERT_DIR', 'SSH_AUTH_SOCK', 'HTTPS_PROXY', 'HTTP_PROXY', 'NO_PROXY'];
  return Object.fromEntries(Object.entries(plumbing).filter(([name]) => names.includes(name)));
}
