/** Builds what deployments need: repositories, tools, the pipeline, the API, and the housekeeping. */

import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import type { WritableRepositories } from '../git/requested/remote-repositories.ts';
import { isOpen, removeFolder, type StepUser } from '../isolation/open-folder.ts';
import { stepFolderProblem } from '../isolation/try-step-folder.ts';
import { type DeployOptions, forgetSecrets } from '../pipelines/deploy/attempt.ts';
import { deploy } from '../pipelines/deploy/deploy.ts';
import type { Pipeline } from '../pipelines/pipeline.ts';
import { createInitExecutor } from '../pipelines/terraform/install/plugin-cache.ts';
import { findTool, listTools, type ToolPlaces } from '../pipelines/terraform/install/tools.ts';
import type { ToolSettings } from '../pipelines/terraform/tool-step.ts';
import type { Watchdog } from '../process/watchdog/watchdog.ts';
import { createDeployEventSource } from '../reporters/notifications/deploy-event-source.ts';
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
import { SECOND } from '../units.ts';
import { VERSION } from '../version.ts';
import { startRunFolders } from '../worker/run-folders.ts';
import { buildExecutor, buildStepUser } from './executor.ts';
import { buildServerRepositories } from './repositories/git.ts';
import { secretsOf } from './sync.ts';

const TOOLS_KNOWN_MS = 5 * SECOND;
const STEP_USER_STOP_MS = 5 * SECOND;

/** The parts that deployments and plans share. */
export interface ToolSetup extends ToolSettings {
  repositories: WritableRepositories;
  sealer: Sealer;
}

export async function buildToolSetup(
  config: Config,
  watchdog: Watchdog | null,
  log: Logger,
): Promise<ToolSetup> {
  const { deploy: settings } = config;
  const executor = buildExecutor(config, secretsOf(config), watchdog);
  const tempDir = sessionsFolder(config);
  // A killed server may have left files there.
  await rm(tempDir, { recursive: true, force: true });
  const directory = path.join(config.dataDir, 'repositories');
  const repositories = await buildServerRepositories(
    config,
    { directory, rules: config.remotes, tempDir },
    log,
  );
  const stepUser = buildStepUser(config, executor);
  const isShared = stepUser !== null && (await isOpen(settings.directory));
  return {
    directory: settings.directory,
    repositories,
    executor,
    // The cache may then contain files of another user, which this one cannot remove.
    initExecutor: isShared ? executor : createInitExecutor({ executor, directory: settings.pluginCacheDir }),
    stepUser,
    interruptGraceMs: settings.cancelGraceMs,
    tools: toolPlaces(config),
    plumbing: config.plumbing,
    gitProtocols: config.remotes.protocols,
    registryUrl: settings.registryUrl,
    providerMirrorDir: settings.providerMirrorDir,
    checks: settings.checks,
    approvalTimeoutMs: settings.approvalTimeoutMs,
    now: Date.now,
    sealer: createSealer(config.sealingKeys),
  };
}

function toolPlaces({ plumbing, deploy }: Config): ToolPlaces {
  return { path: plumbing.PATH ?? '', toolsDir: deploy.toolsDir };
}

/** Returns the tools of this machine by `toolName`. They are looked up again every few seconds. */
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

/** Returns a path outside the data directory, because a path below it may be too long for a socket (unix(7)). */
function sessionsFolder({ dataDir, deploy: { directory } }: Config): string {
  const own = createHash('sha256').update(dataDir).digest('hex').slice(0, 12);
  return path.join(directory, `.sessions-${own}`);
}

export function buildDeploy(
  config: Config,
  store: RunStore,
  setup: ToolSetup,
  comments: Pick<DeployOptions, 'ownRepository' | 'withdrawn'>,
): Pipeline<'deploy'> {
  const options: DeployOptions = {
    ...setup,
    ...comments,
    hasWall: config.wall.operators,
    steps: store.steps,
    latestDecision: (runId) => store.latestEvent(runId, 'run.decided'),
    latestPlan: (runId) => store.latestEvent(runId, 'run.planned'),
    openSecrets: async (runId) => opened<DeploySecrets>(setup.sealer, await store.sealed(runId)),
    sealPlan: (plan) => setup.sealer.seal(JSON.stringify(plan)),
    openPlan: async (runId) => opened<KeptPlan>(setup.sealer, await store.keptPlan(runId)),
  };
  return (context) => deploy(options, context);
}

/**
 * Opens a text that this program has sealed. Returns null if there is none, or if the key of that time is not known any
 * more.
 */
function opened<T>({ open }: Sealer, sealed: string | null): T | null {
  const text = sealed && open(sealed);
  return text ? (JSON.parse(text) as T) : null;
}

export function buildDeployApi(
  { remotes, wall }: Config,
  store: RunStore,
  { sealer, tools }: ToolSetup,
  fleet: Fleet | null,
): DeployApi {
  return createDeployApi({
    store,
    seal: sealer.seal,
    async toolProblem({ tool, toolVersion }, labels) {
      if (fleet) {
        const missing = whatIsMissing({ tool, toolVersion }, labels, await fleet.workers());
        // Machines come and go, so a run may wait for one with the labels.
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

/** Expires approvals, removes old folders, and warns at once if DEPLOY_DIR cannot be used. Returns what ends this. */
export function startHousekeeping(
  store: RunStore,
  { directory, stepUser }: ToolSetup,
  log: Logger,
): () => Promise<void> {
  const ending = new AbortController();
  const { signal } = ending;
  const user: StepUser | null = stepUser && ((argv) => stepUser(argv, signal));
  const approvals = startApprovals({ store, now: Date.now, log });
  const remove = (folder: string) => removeFolder(folder, user);
  const forget = (folder: string) => forgetSecrets(folder, user);
  const folders = startRunFolders({ store, directory, remove, forgetSecrets: forget, now: Date.now, log });
  const tried = stepUser && sayWhenOutOfReach({ directory, stepUser, signal, log });
  return async () => {
    ending.abort();
    const ofStepUser = Promise.all([folders.stop(), tried]);
    // Other parts wait to stop. An executor that hangs has its signal to end, and its input has ended.
    const enough = sleep(STEP_USER_STOP_MS, undefined, { ref: false });
    await Promise.all([approvals.stop(), Promise.race([ofStepUser, enough])]);
  };
}

/** This only warns, because perhaps nothing is deployed and nobody needs the folder. */
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

/** Sends events of deployments, or settles them if there is no secret to sign them with. */
export function startEvents(
  { deploy: { eventWebhook }, remotes: rules }: Config,
  store: RunStore,
  runUrl: (runId: string) => string,
  loop: { log: Logger; onFailure(error: unknown): void },
): () => Promise<void> {
  const sendEvent =
    eventWebhook && createEventWebhook({ secret: eventWebhook.secret, rules, version: VERSION });
  const source = createDeployEventSource({ store, sendEvent, url: eventWebhook?.url ?? null, runUrl });
  const events = startEventSender({ store, source, ...loop });
  return () => events.stop();
}

/** Throws ConfigError if the file of targets is wrong. */
export async function startDrift(
  { deploy: { drift }, remotes: rules }: Config,
  store: RunStore,
  { sealer }: ToolSetup,
  log: Logger,
): Promise<() => Promise<void>> {
  if (drift === null) return async () => undefined;
  const checks = await startDriftChecks({ ...drift, store, rules, seal: sealer.seal, now: Date.now, log });
  return async () => {
    await checks.stop();
  };
}
