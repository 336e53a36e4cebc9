/** Builds what syncs and previews need: git, mirror, workspace, executor. */

import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { Logger } from 'pino';
import { readSecret, type Secret } from '../config/repositories.ts';
import type { Config, SecretsConfig } from '../config.ts';
import type { Executor } from '../executor/executor.ts';
import { createWorkspace } from '../git/own/workspace.ts';
import { createScratchRepository } from '../git/requested/scratch-repository.ts';
import { gitTrust } from '../isolation/open-folder.ts';
import type { Outcome, Pipeline, PipelineContext } from '../pipelines/pipeline.ts';
import { type PreviewOptions, preview } from '../pipelines/preview/preview.ts';
import { type PromotionCheck, refusePromotion } from '../pipelines/promotion/check.ts';
import { unproven } from '../pipelines/promotion/propose.ts';
import { type Due, dueServices } from '../pipelines/selection/due-services.ts';
import { sync } from '../pipelines/sync/sync.ts';
import type { SyncOptions } from '../pipelines/sync/sync-service.ts';
import { taskSecrets } from '../process/environment.ts';
import { createRedactor } from '../process/output/redact.ts';
import type { Watchdog } from '../process/watchdog/watchdog.ts';
import type { RunStore } from '../runs/run-store.ts';
import { holdsAt } from '../runs/sync/hold.ts';
import { type PlaceInput, scopeOfInput } from '../runs/sync/place.ts';
import { createDokployHashes } from '../stores/dokploy-hashes/dokploy-hashes.ts';
import { MINUTE } from '../units.ts';
import { buildExecutor, isElsewhere, stepPlumbing } from './executor.ts';
import { buildGit, requireSpace } from './repositories/git.ts';
import { type OpenPlace, openPlaces, taskEnvironment } from './repositories/places.ts';
import { promotionOptions } from './repositories/promotions.ts';

/** The time is shorter than other times for git, because anybody may open a pull request. */
const PREVIEW_GIT_TIMEOUT_MS = 2 * MINUTE;
const LOCK_WAIT_MS = 10 * MINUTE;

/** The folder for the result files of tasks. */
export function taskFiles({ dataDir }: Config): string {
  return path.join(dataDir, 'tmp');
}

/** What syncs are worked on with. */
interface SyncParts {
  config: Config;
  store: RunStore;
  executor: Executor;
  places: readonly OpenPlace[];
}

export interface Syncs {
  places: readonly OpenPlace[];
  pipeline(context: PipelineContext<'sync'>): Promise<Outcome>;
  /** The services of a place that are due. */
  due(place: OpenPlace, signal: AbortSignal): Promise<Due>;
}

export function buildSync(config: Config, store: RunStore, watchdog: Watchdog | null, log: Logger): Syncs {
  const places = openPlaces(config, store, log);
  const parts = { config, store, places, executor: buildExecutor(config, secretsOf(config), watchdog) };
  const options = new Map(places.map((place) => [place.scope, syncOptions(parts, place)]));
  const retries = config.syncRetries;
  return {
    places,
    async pipeline(context) {
      const own = options.get(context.run.concurrencyGroup);
      return own ? sync(own, context) : notConfigured(context.run);
    },
    async due({ scope }, signal) {
      const own = options.get(scope);
      if (!own) throw new Error(`There is no place ${scope}.`);
      return dueServices({ ...own, retries }, scope, signal);
    },
  };
}

function notConfigured({ input }: { input: PlaceInput }): Outcome {
  const { environment, repository, branch } = input;
  const what =
    environment === undefined ? `The branch ${branch}` : `The environment ${environment} of ${repository}`;
  const message = `${what} is not in the configuration of this server`;
  return { state: 'errored', reason: 'environment_unknown', message };
}

function syncOptions(parts: SyncParts, open: OpenPlace): SyncOptions {
  const { config, store, executor } = parts;
  const { place, git, mirror, checkout, environment } = open;
  const check = promotionCheck(parts, open);
  return {
    mirror,
    workspace: createWorkspace({
      git,
      mirror,
      directory: checkout,
      requireSpace: () => requireSpace(config),
    }),
    lockPath: open.lockPath,
    environment: place.environment,
    windows: environment.windows,
    requireSignature: config.requireSignedCommits,
    now: Date.now,
    ledger: store.ledger,
    holds: async () => holdsAt(place, await store.holds()),
    steps: store.steps,
    refuse: async (run, found) => (check ? refusePromotion(check, run, found) : null),
    outside: config.dokploy && {
      hashes: createDokployHashes(config.dokploy),
      store,
      selfHeal: config.selfHeal,
      now: Date.now,
    },
    executor,
    invokeCommand: config.invokeCommand,
    plumbing: {
      ...stepPlumbing(config),
      ...(isElsewhere(config.executor.command) ? gitTrust(checkout) : {}),
    },
    taskEnvironment: taskEnvironment(config, open),
    readSecrets: () => readSecrets(environment.secrets),
    tempDir: taskFiles(config),
    mask: createRedactor(secretsOf(config)),
    timeoutMs: config.syncTimeoutMs,
    concurrency: config.syncConcurrency,
    lockWaitMs: LOCK_WAIT_MS,
  };
}

/** Returns null for an environment that follows by itself. */
function promotionCheck({ config, store, places }: SyncParts, open: OpenPlace): PromotionCheck | null {
  const { promotion } = open;
  const asked = promotionOptions(config, store, open, places);
  if (promotion === null || asked === null) return null;
  return {
    approval: promotion.approval,
    from: promotion.promote,
    latestDecision: (runId) => store.latestEvent(runId, 'run.decided'),
    unproven: (revision, services) => unproven(asked(), revision, services),
  };
}

function readSecrets(secrets: Readonly<Record<string, Secret>>): Record<string, string> {
  return Object.fromEntries(Object.entries(secrets).map(([name, secret]) => [name, readSecret(secret)]));
}

export async function buildPreview(
  config: Config,
  store: RunStore,
  places: readonly OpenPlace[],
): Promise<Pipeline<'preview'>> {
  const directory = path.join(config.dataDir, 'previews');
  // A killed server may have left files there.
  await rm(directory, { recursive: true, force: true });
  const options = new Map(places.map((open) => [open.scope, previewOptions(config, store, open)]));
  return async (context) => {
    const own = options.get(scopeOfInput(context.run.input));
    return own ? preview(own, context) : notConfigured(context.run);
  };
}

function previewOptions(config: Config, store: RunStore, open: OpenPlace): PreviewOptions {
  const { place, mirror, repository } = open;
  const git = buildGit(config, repository, PREVIEW_GIT_TIMEOUT_MS);
  return {
    mirror,
    async openScratch({ id }) {
      await requireSpace(config);
      const directory = path.join(config.dataDir, 'previews', id);
      const objects = path.join(mirror.directory, 'objects');
      return createScratchRepository({ git, directory, objects });
    },
    environment: place.environment,
    ledger: store.ledger,
    holds: async () => holdsAt(place, await store.holds()),
    taskEnvironment: taskEnvironment(config, open),
  };
}

/**
 * Returns the texts that no log may show, even if a task prints them. Some are only in the server's own environment.
 */
export function secretsOf({ secrets }: { secrets: SecretsConfig }): string[] {
  return [...secrets.values, ...taskSecrets(secrets.others)];
}
