/** Builds what syncs and previews need: git, mirror, workspace, executor. */

import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from 'pino';
import type { Config, SecretsConfig } from '../config.ts';
import type { Git } from '../git/git.ts';
import { createMirror, type Mirror } from '../git/own/mirror.ts';
import { createWorkspace } from '../git/own/workspace.ts';
import { createScratchRepository } from '../git/requested/scratch-repository.ts';
import { gitTrust } from '../isolation/open-folder.ts';
import type { Pipeline, PipelineContext } from '../pipelines/pipeline.ts';
import { type PreviewOptions, preview } from '../pipelines/preview/preview.ts';
import { dueServices } from '../pipelines/selection/due-services.ts';
import { sync } from '../pipelines/sync/sync.ts';
import type { SyncOptions } from '../pipelines/sync/sync-service.ts';
import { taskSecrets } from '../process/environment.ts';
import { createRedactor } from '../process/output/redact.ts';
import type { Watchdog } from '../process/watchdog/watchdog.ts';
import type { RunStore } from '../runs/run-store.ts';
import { createDokployHashes } from '../stores/dokploy-hashes/dokploy-hashes.ts';
import { MINUTE } from '../units.ts';
import { buildExecutor, isElsewhere, stepPlumbing } from './executor.ts';
import { buildGit, GIT_TIMEOUT_MS, requireSpace } from './git.ts';

/** The time is shorter than other times for git, because anybody may open a pull request. */
const PREVIEW_GIT_TIMEOUT_MS = 2 * MINUTE;
const LOCK_WAIT_MS = 10 * MINUTE;

/** The folder for the result files of tasks. */
export function taskFiles({ dataDir }: Config): string {
  return path.join(dataDir, 'tmp');
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
  const options = syncOptions(config, { store, watchdog, git, mirror, directory });
  const dueOptions = { ...options, retries: config.syncRetries };
  return {
    mirror,
    checkout: directory,
    pipeline: (context: PipelineContext<'sync'>) => sync(options, context),
    due: (scope: string, signal: AbortSignal) => dueServices(dueOptions, scope, signal),
  };
}

interface SyncParts {
  store: RunStore;
  watchdog: Watchdog | null;
  git: Git;
  mirror: Mirror;
  directory: string;
}

function syncOptions(config: Config, { store, watchdog, git, mirror, directory }: SyncParts): SyncOptions {
  return {
    mirror,
    workspace: createWorkspace({ git, mirror, directory, requireSpace: () => requireSpace(config) }),
    workspaceDir: config.workspaceDir,
    requireSignature: config.requireSignedCommits,
    now: Date.now,
    ledger: store.ledger,
    holds: store.holds,
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
}

export async function buildPreview(
  config: Config,
  store: RunStore,
  mirror: Mirror,
): Promise<Pipeline<'preview'>> {
  const git = buildGit(config, PREVIEW_GIT_TIMEOUT_MS);
  const directory = path.join(config.dataDir, 'previews');
  // A killed server may have left files there.
  await rm(directory, { recursive: true, force: true });
  const options: PreviewOptions = {
    mirror,
    async openScratch({ id }) {
      await requireSpace(config);
      const objects = path.join(mirror.directory, 'objects');
      return createScratchRepository({ git, directory: path.join(directory, id), objects });
    },
    ledger: store.ledger,
    holds: store.holds,
    taskEnvironment: config.taskEnvironment,
  };
  return (context) => preview(options, context);
}

/**
 * Returns the texts that no log may show, even if a task prints them. Some are only in the server's own environment.
 */
export function secretsOf({ secrets }: { secrets: SecretsConfig }): string[] {
  return [...secrets.values, ...taskSecrets(secrets.others)];
}

/** Returns the last part of the repository's address as a folder name. */
export function repositoryName(url: string): string {
  const last =
    url
      .replace(/\/+$/, '')
      .split(/[/:]/)
      .at(-1)
      ?.replace(/\.git$/, '') ?? '';
  return last.replace(/[^A-Za-z0-9._-]/g, '_').replace(/^\.+/, '') || 'repository';
}
