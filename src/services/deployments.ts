/** Builds what deployments need: repositories, tools, the pipeline, the API, and what ends by itself. */

import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { clearRemoteLocks, createRemoteRepositories } from '../git/remote-repositories.ts';
import { type DeployOptions, deploy } from '../pipelines/deploy.ts';
import type { Pipeline } from '../pipelines/pipeline.ts';
import { createInitExecutor } from '../pipelines/terraform/plugin-cache.ts';
import type { PrepareOptions } from '../pipelines/terraform/prepare-tool.ts';
import type { InitOptions } from '../pipelines/terraform/tool-phases.ts';
import { findTool } from '../pipelines/terraform/tools.ts';
import { startEventWebhooks } from '../reporters/event-webhook.ts';
import { createEventWebhookClient } from '../reporters/event-webhook-client.ts';
import type { DeploySecrets } from '../runs/deployment.ts';
import type { RunStore } from '../runs/run-store.ts';
import { startApprovals } from '../triggers/approvals.ts';
import { createDeployApi, type DeployApi } from '../triggers/deploy-api.ts';
import { startDriftChecks } from '../triggers/drift.ts';
import { createSealer, type Sealer } from '../triggers/seal.ts';
import { VERSION } from '../version.ts';
import { startRunFolders } from '../worker/run-folders.ts';
import { buildExecutor } from './executor.ts';
import { networkOf, requireSpace, secretsOf } from './sync.ts';

const GIT_TIMEOUT_MS = 600_000;
const UNUSED_MIRROR_MS = 30 * 86_400_000;

/** What deployments and plans share. */
export interface ToolRoom extends InitOptions, PrepareOptions {
  directory: string;
  repositories: ReturnType<typeof createRemoteRepositories>;
  sealer: Sealer;
}

export async function buildToolRoom(config: Config, log: Logger): Promise<ToolRoom> {
  const { deploy: settings } = config;
  const executor = buildExecutor(config, secretsOf(config));
  const directory = path.join(config.dataDir, 'repositories');
  await clearRemoteLocks(directory);
  const tempDir = sessionsFolder(config);
  // Of a server that was killed.
  await rm(tempDir, { recursive: true, force: true });
  const repositories = createRemoteRepositories({
    directory,
    path: config.plumbing.PATH ?? '',
    home: config.plumbing.HOME ?? config.dataDir,
    timeoutMs: GIT_TIMEOUT_MS,
    rules: config.remotes,
    network: { ...networkOf(config.plumbing), IAC_RUNNER_DATA: config.dataDir },
    tempDir,
    requireSpace: () => requireSpace(config),
    log,
  });
  repositories.removeUnused(UNUSED_MIRROR_MS).catch((err: unknown) => {
    log.warn({ err }, 'mirrors that nobody uses could not be removed');
  });
  return {
    directory: settings.directory,
    repositories,
    executor,
    initExecutor: createInitExecutor({ executor, directory: settings.pluginCacheDir }),
    interruptGraceMs: settings.cancelGraceMs,
    tools: { path: config.plumbing.PATH ?? '', toolsDir: settings.toolsDir },
    plumbing: config.plumbing,
    gitProtocols: config.remotes.protocols,
    registryUrl: settings.registryUrl,
    providerMirrorDir: settings.providerMirrorDir,
    sealer: createSealer(config.sealingKeys),
  };
}

/** Not below the data directory, whose path may be longer than that of a socket can be (unix(7)). */
function sessionsFolder({ dataDir, deploy: { directory } }: Config): string {
  const own = createHash('sha256').update(dataDir).digest('hex').slice(0, 12);
  return path.join(directory, `.sessions-${own}`);
}

export function buildDeploy(
  config: Config,
  store: RunStore,
  room: ToolRoom,
  comments: Pick<DeployOptions, 'ownRepository' | 'withdrawn'>,
): Pipeline<'deploy'> {
  const options: DeployOptions = {
    ...room,
    ...comments,
    steps: store.steps,
    latestDecision: (runId) => store.latestEvent(runId, 'run.decided'),
    latestPlan: (runId) => store.latestEvent(runId, 'run.planned'),
    async openSecrets(runId) {
      const sealed = await store.sealed(runId);
      const text = sealed && room.sealer.open(sealed);
      return text ? (JSON.parse(text) as DeploySecrets) : null;
    },
    sealSecrets: (secrets) => room.sealer.seal(JSON.stringify(secrets)),
    checks: config.deploy.checks,
    approvalTimeoutMs: config.deploy.approvalTimeoutMs,
    now: Date.now,
  };
  return (context) => deploy(options, context);
}

export function buildDeployApi({ remotes }: Config, store: RunStore, { sealer, tools }: ToolRoom): DeployApi {
  return createDeployApi({
    store,
    seal: sealer.seal,
    async toolProblem(tool, version) {
      const found = await findTool(tools, tool, version);
      return found.ok ? null : found.problem;
    },
    rules: remotes,
    now: Date.now,
  });
}

/** Expires approvals and removes folders of the past. Resolves when neither is at work any more. */
export function startHousekeeping(config: Config, store: RunStore, log: Logger): () => Promise<void> {
  const approvals = startApprovals({ store, now: Date.now, log });
  const folders = startRunFolders({ store, directory: config.deploy.directory, now: Date.now, log });
  return async () => {
    await Promise.all([approvals.stop(), folders.stop()]);
  };
}

/** Tells events of deployments, or settles them when there is nothing to sign with. */
export function startEvents(
  { deploy: { eventWebhook }, remotes: rules }: Config,
  store: RunStore,
  runUrl: (runId: string) => string,
  log: Logger,
): () => Promise<void> {
  const client =
    eventWebhook && createEventWebhookClient({ secret: eventWebhook.secret, rules, version: VERSION });
  const events = startEventWebhooks({ store, client, url: eventWebhook?.url ?? null, runUrl, log });
  return () => events.stop();
}

/** Throws ConfigError for a file of targets that is wrong. */
export async function startDrift(
  { deploy: { drift }, remotes: rules }: Config,
  store: RunStore,
  { sealer }: ToolRoom,
  log: Logger,
): Promise<() => Promise<void>> {
  if (drift === null) return async () => undefined;
  const checks = await startDriftChecks({ ...drift, store, rules, seal: sealer.seal, now: Date.now, log });
  return async () => {
    await checks.stop();
  };
}
