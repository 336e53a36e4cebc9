/** Builds what works on runs, for `serve` and `worker`: the store, the recovery, the pipelines, the worker. */

import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { clearMirrorLock } from '../git/own/mirror-keeper.ts';
import { clearLeftoverLock } from '../pipelines/sync/sync-lock.ts';
import { removeTaskFolder } from '../pipelines/task-folder.ts';
import { loadProcessLibrary } from '../process/supervise-process.ts';
import type { WorkerSign } from '../runs/fleet.ts';
import type { RunStore } from '../runs/run-store.ts';
import { describeScope } from '../runs/sync/place.ts';
import { MINUTE } from '../units.ts';
import { VERSION } from '../version.ts';
import { startHeartbeat } from '../worker/heartbeat.ts';
import { recover } from '../worker/recover.ts';
import { startTakeBack } from '../worker/take-back.ts';
import { startWorker, type Worker } from '../worker/worker.ts';
import { buildCommands } from './commands.ts';
import { buildDeploy, buildToolSetup, startHousekeeping } from './deployments.ts';
import { buildWatchdog, requireLimits, warnOfMissingWall } from './executor.ts';
import type { Lifetime } from './lifetime.ts';
import { buildPlans } from './plans.ts';
import { gitMarker } from './repositories/git.ts';
import { githubRepositories } from './repositories/github.ts';
import { withPromotions } from './repositories/promotions.ts';
import { onceReachable, openStore, repairLoss } from './store.ts';
import { buildPreview, buildSync, taskFiles } from './sync.ts';

/** The number of runs that are worked on at once, each of another group. No kind waits for another. */
const CONCURRENT_SYNCS = 4;
const CONCURRENT_PREVIEWS = 2;
const CONCURRENT_PLANS = 2;
/** A command only asks GitHub, and needs no process. */
const CONCURRENT_COMMANDS = 4;

/** The steps that a drain has ended may take this time, for example for the clean-up of Terraform. */
const LAST_STEPS_MS = MINUTE;

/** The pause between two searches for ended leases, as a part of a lease. */
const TAKE_BACK_PART = 0.25;

export type Work = Awaited<ReturnType<typeof prepareWork>>;

/** Opens the store, ends and takes back the work of a dead process, and builds the pipelines. */
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
    // This is done while the thread of the store starts.
    loadProcessLibrary(),
  ]);
  const { store, fleet, machine } = opened;
  onStoreOpened();
  const { retryLimit: maxAttempts } = config;
  const recovery = { store, maxAttempts, machine: fleet && machine, marker: gitMarker(config), log };
  await onceReachable(() => recover(recovery), life.ending, log);
  await onceReachable(() => repairLoss(config, opened, log), life.ending, log);

  const watchdog = fleet && buildWatchdog(config, log);
  if (watchdog) life.onEnd('watchdog', watchdog.close);
  const sync = buildSync(config, store, watchdog, log);
  for (const { mirror, lockPath } of sync.places) {
    await clearLeftoverLock(lockPath);
    await clearMirrorLock(mirror.directory);
  }
  // The files are of tasks that were cut off. Their runs may go on without them.
  const problem = await removeTaskFolder(taskFiles(config));
  if (problem !== null) log.warn({ err: problem }, 'files that tasks left cannot be removed');
  const tools = await buildToolSetup(config, watchdog, log);
  const github = githubRepositories(config, sync.places);
  const plans = await buildPlans(config, store, { setup: tools, github }, log);
  const places = withPromotions(config, store, sync.places);
  await sayWhatIsGone(store, places, log);
  return { config, log, life, opened, store, sync, places, tools, plans, github };
}

/** What an environment deployed stays when it is taken out of the configuration. */
async function sayWhatIsGone(
  store: Pick<RunStore, 'scopes'>,
  places: readonly { scope: string }[],
  log: Logger,
): Promise<void> {
  const known = new Set(places.map(({ scope }) => scope));
  const gone = (await store.scopes()).filter((scope) => !known.has(scope)).map(describeScope);
  if (gone.length === 0) return;
  log.warn({ gone }, 'these are not configured any more; what they deployed stays as it is');
}

export interface WorkOptions {
  command: WorkerSign['command'];
  /** Null: runs with any labels. */
  labels: readonly string[] | null;
  /** The limit for runs of all kinds together. Null: only the limits of each kind. */
  concurrency: number | null;
}

/** Starts to work on runs. */
export async function startWork(work: Work, { command, labels, concurrency }: WorkOptions): Promise<Worker> {
  const { config, log, life, opened, store, sync, places, tools, plans, github } = work;
  const { fleet, owner } = opened;
  const limits = {
    // No environment waits for another one.
    sync: Math.max(CONCURRENT_SYNCS, places.length),
    preview: CONCURRENT_PREVIEWS,
    deploy: concurrency ?? config.deploy.concurrency,
    plan: CONCURRENT_PLANS,
    command: CONCURRENT_COMMANDS,
  };
  const { repository } = plans;
  const { sealer } = tools;
  const commands = buildCommands(config, store, { sealer, repository, github });
  const { withdrawn } = commands;
  const worker = startWorker({
    store,
    pipelines: {
      sync: sync.pipeline,
      preview: await buildPreview(config, store, sync.places),
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
  const sign = { owner, command, version: VERSION, labels, limits, startedAt: Date.now() };
  startUpkeep(work, worker, sign);
  return worker;
}

/** Starts what runs beside the worker: it takes back runs, shows that this worker is alive, and deletes old data. */
function startUpkeep(
  { config, log, life, opened, store, tools }: Work,
  worker: Worker,
  sign: Omit<WorkerSign, 'runs' | 'tools' | 'at'>,
): void {
  const { fleet } = opened;
  const takeBack = startTakeBack({
    store,
    maxAttempts: config.retryLimit,
    log,
    ...(fleet ? { before: () => repairLoss(config, opened, log) } : { held: worker.held }),
    intervalMs: config.leaseMs * TAKE_BACK_PART,
  });
  life.onEnd('take-back', takeBack.stop);
  if (fleet) life.onEnd('heartbeat', startHeartbeat({ fleet, worker, sign, log }).stop);
  life.onEnd('housekeeping', startHousekeeping(store, tools, log));
}

/** Starts `worker`, which works on the runs that servers accept. Resolves to the function that cuts a drain short. */
export async function startRunWorker(
  config: Config,
  { labels, concurrency }: Pick<WorkOptions, 'labels' | 'concurrency'>,
  log: Logger,
  life: Lifetime,
): Promise<() => void> {
  const work = await prepareWork(config, log, life);
  const options = { command: 'worker', labels: labels ?? config.deploy.labels, concurrency } as const;
  const worker = await startWork(work, options);
  log.info({ machine: work.opened.machine, labels: options.labels, version: VERSION }, 'working');
  return worker.hurry;
}
