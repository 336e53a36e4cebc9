/** Builds what deployments need: repositories, tools, the pipeline, the API, and what ends by itself. */

import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { clearRemoteLocks, createRemoteRepositories } from '../git/requested/remote-repositories.ts';
import { isOpen, removeFolder, type StepUser } from '../isolation/open-folder.ts';
import { stepFolderProblem } from '../isolation/try-step-folder.ts';
import { type DeployOptions, deploy } from '../pipelines/deploy/deploy.ts';
import { forgetSecrets } from '../pipelines/deploy/deploy-place.ts';
import type { Pipeline } from '../pipelines/pipeline.ts';
import type { RunFolderOptions } from '../pipelines/run-folder.ts';
import { createInitExecutor } from '../pipelines/terraform/install/plugin-cache.ts';
import { findTool, listTools, type ToolPlaces } from '../pipelines/terraform/install/tools.ts';
import type { PrepareOptions } from '../pipelines/terraform/prepare-tool.ts';
import type { InitOptions } from '../pipelines/terraform/tool-phases.ts';
import type { Watchdog } from '../process/watchdog/watchdog.ts';
import { startEventSender } from '../reporters/notifications/event-sender.ts';
import { createEventWebhook } from '../reporters/notifications/event-webhook-client.ts';
import { type DeploySecrets, type KeptPlan, toolName } from '../runs/deployments/deployment.ts';
import { whatIsMissing } from '../runs/deployments/takers.ts';
import type { Fleet } from '../runs/fleet.ts';
import type { RunStore } from '../runs/run-store.ts';
import { createDeployApi, type DeployApi } from '../triggers/deploy/deploy-api.ts';
import { startApprovals } from '../triggers/github/approvals.ts';
import { createSealer, type Sealer } from '../triggers/seal.ts';
import { startDriftChecks } from '../triggers/timers/drift.ts';
import { DAY, MINUTE, SECOND } from '../units.ts';
import { VERSION } from '../version.ts';
import { startRunFolders } from '../worker/run-folders.ts';
import { buildExecutor, buildStepUser } from './executor.ts';
import { networkOf, requireSpace, secretsOf } from './sync.ts';

const GIT_TIMEOUT_MS = 10 * MINUTE;
const UNUSED_MIRROR_MS = 30 * DAY;
const TOOLS_KNOWN_MS = 5 * SECOND;
const STEP_USER_STOP_MS = 5 * SECOND;

/** What deployments and plans share. */
export interface ToolRoom extends InitOptions, PrepareOptions, RunFolderOptions {
  directory: string;
  repositories: ReturnType<typeof createRemoteRepositories>;
  sealer: Sealer;
}

export async function buildToolRoom(
  config: Config,
  watchdog: Watchdog | null,
  log: Logger,
): Promise<ToolRoom> {
  const { deploy: settings } = config;
  const executor = buildExecutor(config, secretsOf(config), watchdog);
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
  const stepUser = buildStepUser(config, executor);
  const isShared = stepUser !== null && (await isOpen(settings.directory));
  return {
    directory: settings.directory,
    repositories,
    executor,
    // What another user leaves in the cache is not ours to remove.
    initExecutor: isShared ? executor : createInitExecutor({ executor, directory: settings.pluginCacheDir }),
    stepUser,
    interruptGraceMs: settings.cancelGraceMs,
    tools: toolPlaces(config),
    plumbing: config.plumbing,
    gitProtocols: config.remotes.protocols,
    registryUrl: settings.registryUrl,
    providerMirrorDir: settings.providerMirrorDir,
    sealer: createSealer(config.sealingKeys),
  };
}

function toolPlaces({ plumbing, deploy }: Config): ToolPlaces {
  return { path: plumbing.PATH ?? '', toolsDir: deploy.toolsDir };
}

/** What this machine has, each as of `toolName`; looked up anew every few seconds. */
export function createOwnTools(config: Config): () => Promise<string[]> {
  let found: Promise<string[]> = Promise.resolve([]);
  let lookAgainAtMs = 0;
  return () => {
    if (performance.now() >= lookAgainAtMs) {
      lookAgainAtMs = performance.now() + TOOLS_KNOWN_MS;
      found = listTools(toolPlaces(config)).then((all) =>
        all.map(({ tool, version }) => toolName({ tool, toolVersion: version })),
      );
    }
    return found;
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
    hasWall: config.wall.operators,
    steps: store.steps,
    latestDecision: (runId) => store.latestEvent(runId, 'run.decided'),
    latestPlan: (runId) => store.latestEvent(runId, 'run.planned'),
    openSecrets: async (runId) => opened<DeploySecrets>(room.sealer, await store.sealed(runId)),
    sealPlan: (plan) => room.sealer.seal(JSON.stringify(plan)),
    openPlan: async (runId) => opened<KeptPlan>(room.sealer, await store.keptPlan(runId)),
    checks: config.deploy.checks,
    approvalTimeoutMs: config.deploy.approvalTimeoutMs,
    now: Date.now,
  };
  return (context) => deploy(options, context);
}

/** What we have sealed ourselves; null when it is gone, or was sealed with a key that nobody has any more. */
function opened<T>({ open }: Sealer, sealed: string | null): T | null {
  const text = sealed && open(sealed);
  return text ? (JSON.parse(text) as T) : null;
}

export function buildDeployApi(
  { remotes, wall }: Config,
  store: RunStore,
  { sealer, tools }: ToolRoom,
  fleet: Fleet | null,
): DeployApi {
  return createDeployApi({
    store,
    seal: sealer.seal,
    async toolProblem({ tool, toolVersion }, labels) {
      if (fleet) {
        const missing = whatIsMissing({ tool, toolVersion }, labels, await fleet.workers());
        // Machines come and go: for one with the labels it may wait.
        return missing?.what === 'tool' ? missing.problem : null;
      }
      const found = toolVersion === null ? null : await findTool(tools, tool, toolVersion);
      return found === null || found.ok ? null : found.problem;
    },
    rules: remotes,
    operatorsMayDeploy: wall.operators,
    now: Date.now,
  });
}

/** Expires approvals, removes folders of the past, and says at once when there can be none. Resolves when these are over. */
export function startHousekeeping(
  store: RunStore,
  { directory, stepUser }: ToolRoom,
  log: Logger,
): () => Promise<void> {
  const ending = new AbortController();
  const { signal } = ending;
  const user: StepUser | null = stepUser && ((argv) => stepUser(argv, signal));
  const approvals = startApprovals({ store, now: Date.now, log });
  const remove = (folder: string) => removeFolder(folder, user);
  const forget = (folder: string) => forgetSecrets({ stepUser: user }, folder);
  const folders = startRunFolders({ store, directory, remove, forgetSecrets: forget, now: Date.now, log });
  const tried = stepUser && sayWhenOutOfReach({ directory, stepUser, signal, log });
  return async () => {
    ending.abort();
    const ofStepUser = Promise.all([folders.stop(), tried]);
    // Others are waiting to stop. An executor that hangs has been told to end, and its input has ended.
    const enough = sleep(STEP_USER_STOP_MS, undefined, { ref: false });
    await Promise.all([approvals.stop(), Promise.race([ofStepUser, enough])]);
  };
}

/** Where nothing is deployed nobody may have made the folder ready, and nobody needs it. */
async function sayWhenOutOfReach(options: {
  directory: string;
  stepUser: StepUser;
  signal: AbortSignal;
  log: Logger;
}): Promise<void> {
  const { directory, stepUser, signal, log } = options;
  const problem = await stepFolderProblem('DEPLOY_DIR', directory, stepUser, signal);
  if (problem === null || signal.aborted) return;
  log.warn({ problem }, 'any deployment or plan would fail; syncs do not need DEPLOY_DIR');
}

/** Tells events of deployments, or settles them when there is nothing to sign with. */
export function startEvents(
  { deploy: { eventWebhook }, remotes: rules }: Config,
  store: RunStore,
  runUrl: (runId: string) => string,
  loop: { log: Logger; onFailure(error: unknown): void },
): () => Promise<void> {
  const sendEvent =
    eventWebhook && createEventWebhook({ secret: eventWebhook.secret, rules, version: VERSION });
  const events = startEventSender({ store, sendEvent, url: eventWebhook?.url ?? null, runUrl, ...loop });
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
