/** What works on runs, in `serve` and in `worker`: the store, what a dead process left, the pipelines, the worker. */

import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { clearMirrorLock } from '../git/own/mirror-keeper.ts';
import { clearLeftoverLock } from '../pipelines/sync/sync-lock.ts';
import { removeTaskFolder } from '../pipelines/task-folder.ts';
import { loadProcessLibrary } from '../process/supervise-process.ts';
import type { WorkerSign } from '../runs/fleet.ts';
import { MINUTE } from '../units.ts';
import { VERSION } from '../version.ts';
import { startHeartbeat } from '../worker/heartbeat.ts';
import { recover } from '../worker/recover.ts';
import { startTakeBack } from '../worker/take-back.ts';
import { startWorker, type Worker } from '../worker/worker.ts';
import { buildCommands } from './commands.ts';
import { buildDeploy, buildToolRoom, startHousekeeping } from './deployments.ts';
import { buildWatchdog, requireLimits, warnOfMissingWall } from './executor.ts';
import type { Lifetime } from './lifetime.ts';
import { buildPlans } from './plans.ts';
import { mendLoss, openStore } from './store.ts';
import { buildPreview, buildSync, gitMarker, taskFiles } from './sync.ts';

/** Runs worked on at once, each of another group. No kind waits for another. */
const CONCURRENT_SYNCS = 4;
const CONCURRENT_PREVIEWS = 2;
const CONCURRENT_PLANS = 2;
/** They hold no process, only questions to GitHub. */
const CONCURRENT_COMMANDS = 4;

/** What the steps that a drain has ended may still take, Terraform's own clean-up among it. */
const LAST_STEPS_MS = MINUTE;

/** Of a lease: how often ended ones are looked for. */
const TAKE_BACK_PART = 0.25;

export type Room = Awaited<ReturnType<typeof prepareWork>>;

/** Opens the store, ends and takes back what a dead process left, and builds the pipelines. */
export async function prepareWork(
  config: Config,
  log: Logger,
  life: Lifetime,
  onStoreOpened: () => void = () => {},
) {
  await requireLimits(config);
  warnOfMissingWall(config, log);
  const [opened] = await Promise.all([
    openStore(config, log, life),
    // While the store's thread starts.
    loadProcessLibrary(),
  ]);
  const { store, fleet, machine } = opened;
  life.onEnd('store', opened.release);
  onStoreOpened();
  const { retryLimit: maxAttempts } = config;
  await recover({ store, maxAttempts, machine: fleet && machine, marker: gitMarker(config), log });
  await mendLoss(config, opened, log);

  await clearLeftoverLock(config.workspaceDir);
  const watchdog = fleet && buildWatchdog(config, log);
  if (watchdog) life.onEnd('watchdog', watchdog.close);
  const sync = buildSync(config, store, watchdog, log);
  await clearMirrorLock(sync.mirror.directory);
  // Of tasks that were cut off, and whose run may go on without them.
  const problem = await removeTaskFolder(taskFiles(config));
  if (problem !== null) log.warn({ err: problem }, 'files that tasks left cannot be removed');
  const tools = await buildToolRoom(config, watchdog, log);
  const plans = await buildPlans(config, store, { room: tools, mirror: sync.mirror }, log);
  return { opened, store, sync, tools, plans };
}

export interface WorkOptions {
  command: WorkerSign['command'];
  /** Null: any. */
  labels: readonly string[] | null;
  /** Runs of all kinds together; null: as many as of each kind. */
  concurrency: number | null;
}

/** Begins to work on runs. */
export async function startWork(
  config: Config,
  { opened, store, sync, tools, plans }: Room,
  { command, labels, concurrency }: WorkOptions,
  log: Logger,
  life: Lifetime,
): Promise<Worker> {
  const { fleet, owner } = opened;
  const limits = {
    sync: CONCURRENT_SYNCS,
    preview: CONCURRENT_PREVIEWS,
    deploy: concurrency ?? config.deploy.concurrency,
    plan: CONCURRENT_PLANS,
    command: CONCURRENT_COMMANDS,
  };
  const { repository } = plans;
  const commands = buildCommands(config, store, { sealer: tools.sealer, repository });
  const { withdrawn } = commands;
  const worker = startWorker({
    store,
    pipelines: {
      sync: sync.pipeline,
      preview: await buildPreview(config, store, sync.mirror),
      deploy: buildDeploy(config, store, tools, { ownRepository: repository, withdrawn }),
      plan: plans.pipeline,
      command: commands.pipeline,
    },
    owner,
    leaseMs: config.leaseMs,
    isShared: fleet !== null,
    limits,
    total: concurrency ?? Number.POSITIVE_INFINITY,
    labels: labels ?? undefined,
    drainTimeoutMs: config.drainTimeoutMs,
    ending: life.ending,
    onFailure: life.fail,
    log,
  });
  life.onEnd('worker', () => worker.drain(), config.drainTimeoutMs + LAST_STEPS_MS);
  const { retryLimit: maxAttempts } = config;
  const takeBack = startTakeBack({
    ...{ store, maxAttempts, log },
    ...(fleet ? { before: () => mendLoss(config, opened, log) } : { held: worker.held }),
    intervalMs: config.leaseMs * TAKE_BACK_PART,
  });
  life.onEnd('take-back', takeBack.stop);
  if (fleet) {
    const sign = { owner, command, version: VERSION, labels, limits, startedAt: Date.now() };
    life.onEnd('heartbeat', startHeartbeat({ fleet, worker, sign, log }).stop);
  }
  life.onEnd('housekeeping', startHousekeeping(store, tools, log));
  return worker;
}

/** `worker`: works on what servers have taken in, and answers nobody. Resolves to what cuts a drain short. */
export async function startRunWorker(
  config: Config,
  { labels, concurrency }: Pick<WorkOptions, 'labels' | 'concurrency'>,
  log: Logger,
  life: Lifetime,
): Promise<() => void> {
  const room = await prepareWork(config, log, life);
  const options = { command: 'worker', labels: labels ?? config.deploy.labels, concurrency } as const;
  const worker = await startWork(config, room, options, log, life);
  log.info({ machine: room.opened.machine, labels: options.labels, version: VERSION }, 'working');
  return worker.hurry;
}
