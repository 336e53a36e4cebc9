/** The composition root: from Config to everything that runs, and its release in reverse order. */

import { createSecretKey } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import type { Config } from './config.ts';
import { clearMirrorLock } from './git/mirror-lock.ts';
import { createKnownServices } from './pipelines/known-services.ts';
import { servicesNamedBy } from './pipelines/service-rules.ts';
import { clearLeftoverLock } from './pipelines/sync-lock.ts';
import { loadProcessLibrary } from './process/supervise-process.ts';
import { createGitHubClient } from './reporters/github-client.ts';
import { createGitHubComments } from './reporters/github-comments.ts';
import { createHookReader } from './reporters/hook-deliveries.ts';
import { startStatusReporter } from './reporters/status-reporter.ts';
import { syncGroup } from './runs/run.ts';
import { REPORTERS, type ReporterName, type RunStore } from './runs/run-store.ts';
import {
  buildDeploy,
  buildDeployApi,
  buildToolRoom,
  startDrift,
  startEvents,
  startHousekeeping,
} from './services/deployments.ts';
import { buildPages, createLinks } from './services/pages.ts';
import { buildPlans } from './services/plans.ts';
import { buildReadiness, sayWhatIsMissing } from './services/readiness.ts';
import { buildPreview, buildSync, gitMarker, taskFiles } from './services/sync.ts';
import { createSqliteStore } from './stores/sqlite-store/sqlite-store.ts';
import { createGitHubWebhook } from './triggers/github-webhook.ts';
import { createInbox } from './triggers/inbox.ts';
import { createMissedDeliveries } from './triggers/missed-deliveries.ts';
import { type Reconciler, startReconciler } from './triggers/reconcile.ts';
import { createSyncApi } from './triggers/sync-api.ts';
import { VERSION } from './version.ts';
import { createApp } from './web/app.ts';
import { startServer } from './web/server.ts';
import { recover } from './worker/recover.ts';
import { startRetention } from './worker/retention.ts';
import { startWorker } from './worker/worker.ts';

/** Those that have their own credentials, or none. */
const REPORTERS_WITHOUT_GITHUB: readonly ReporterName[] = ['event-webhook', 'plan-comment'];
/** Runs worked on at once, each of another group. No kind waits for another. */
const CONCURRENT_SYNCS = 4;
const CONCURRENT_PREVIEWS = 2;
const CONCURRENT_PLANS = 2;

export interface Services {
  /** Drains and releases everything; resolves when nothing is left. */
  stop(): Promise<void>;
  /** Cuts a drain short: what still runs is ended now. */
  hurry(): void;
}

/** Starts the whole server. When it resolves, requests are answered and work is done. */
export async function startServices(config: Config, log: Logger): Promise<Services> {
  const releasers: (() => Promise<void> | void)[] = [];
  async function release(): Promise<void> {
    for (const releaseOne of releasers.splice(0).reverse()) await releaseOne();
  }
  try {
    const hurry = await start(config, log, releasers);
    return { stop: release, hurry };
  } catch (error) {
    await release();
    throw error;
  }
}

async function start(config: Config, log: Logger, releasers: (() => Promise<void> | void)[]) {
  const [store] = await Promise.all([
    createSqliteStore({ directory: config.dataDir, queueLimit: config.queueLimit }),
    // While the store's thread starts.
    loadProcessLibrary(),
  ]);
  releasers.push(() => store.close());
  await recover({ store, maxAttempts: config.retryLimit, marker: gitMarker(config), log });

  await clearLeftoverLock(config.workspaceDir);
  const { pipeline, mirror, due } = buildSync(config, store, log);
  await clearMirrorLock(mirror.directory);
  // Of tasks that were cut off, and whose run may go on without them.
  await rm(taskFiles(config), { recursive: true, force: true });
  const links = await createLinks(config, store);
  const room = await buildToolRoom(config, log);
  const plans = await buildPlans(config, store, { room, mirror }, log);
  const deployApi = buildDeployApi(config, store, room);
  const readiness = buildReadiness(config, store);
  // Made before the doors that nudge it, started after them.
  let reconciler: Reconciler | null = null;
  const known = createKnownServices({
    mirror,
    lastGoodRules: async () => (await store.ledger(syncGroup(config.git.branch))).rules,
  });
  const secrets = config.webhookSecrets.map((secret) => createSecretKey(secret, 'utf8'));
  const pages = await buildPages(config, store, { links, log, deployApi }, async () => {
    try {
      return await known.known();
    } catch (err) {
      log.warn({ err }, 'the services of the branch cannot be listed');
      return [];
    }
  });
  const app = createApp({
    githubWebhook: createGitHubWebhook({
      store,
      secrets,
      branch: config.git.branch,
      repository: config.repository,
      previews: config.previews,
      plans: plans.ownPulls,
      servicesNamedBy,
      runUrl: links.signed,
      inbox: createInbox({ store, now: Date.now }),
      onBranchMoved: () => reconciler?.nudge(),
    }),
    syncApi: createSyncApi({
      ...known,
      store,
      secrets,
      branch: config.git.branch,
      requireTimestamp: config.requireTimestamp,
      runUrl: links.signed,
      now: Date.now,
    }),
    pubsubPush: plans.pubsubPush,
    pages: pages.apps,
    isHealthy: store.isAlive,
    readiness,
    log,
  });
  const server = await startServer(app, config.server);
  releasers.push(() => server.close());
  releasers.push(pages.closeStreams);
  links.listeningOn(server.port);
  log.info({ url: `http://${shownHost(config.server.host)}:${server.port}`, version: VERSION }, 'listening');

  if (config.github) {
    const { owner, repo, apiUrl, token } = config.github;
    const reporter = startStatusReporter({
      store,
      client: createGitHubClient({ apiUrl, token, version: VERSION }),
      comments: { store, client: createGitHubComments({ apiUrl, token, version: VERSION }) },
      repository: { owner, repo },
      runUrl: links.signed,
      log,
    });
    releasers.push(() => reporter.stop());
  } else {
    log.warn('no commit statuses: they need GITHUB_TOKEN, and GITHUB_REPOSITORY or a GIT_REPO_URL on GitHub');
  }
  releasers.push(plans.startComments(links.signed));
  if (config.selfHeal && !config.dokploy)
    log.warn('SELF_HEAL does nothing without CONFIG_HASH_STORE=dokploy');
  const worker = startWorker({
    store,
    pipelines: {
      sync: pipeline,
      preview: await buildPreview(config, store, mirror),
      deploy: buildDeploy(config, store, room),
      plan: plans.pipeline,
    },
    owner: `${hostname()}:${process.pid}`,
    limits: {
      sync: CONCURRENT_SYNCS,
      preview: CONCURRENT_PREVIEWS,
      deploy: config.deploy.concurrency,
      plan: CONCURRENT_PLANS,
    },
    labels: config.deploy.labels ?? undefined,
    drainTimeoutMs: config.drainTimeoutMs,
    log,
  });
  releasers.push(() => worker.drain());
  reconciler = startReconciler({
    store,
    branch: config.git.branch,
    intervalMs: config.reconcileIntervalMs,
    onLook: missedDeliveries(config, store, log),
    due,
    log,
  });
  releasers.push(reconciler.stop);
  releasers.push(startHousekeeping(config, store, log));
  releasers.push(startEvents(config, store, links.plain, log));
  releasers.push(await startDrift(config, store, room, log));
  const retention = startRetention({
    store,
    retentionMs: config.retentionMs,
    reporters: config.github ? REPORTERS : REPORTERS_WITHOUT_GITHUB,
    now: Date.now,
    log,
  });
  releasers.push(retention.stop);
  void sayWhatIsMissing(readiness, log);
  return worker.hurry;
}

/** Only where we know our own address, and may ask GitHub about the repository. */
function missedDeliveries({ github, server }: Config, store: RunStore, log: Logger): () => void {
  if (!github || server.publicUrl === null) return () => undefined;
  const { owner, repo, apiUrl, token } = github;
  const hookUrl = `${server.publicUrl}/webhook`;
  const hook = createHookReader({ apiUrl, token, version: VERSION, repository: { owner, repo }, hookUrl });
  const look = createMissedDeliveries({ ...hook, store, now: Date.now, log });
  return () => void look();
}

function shownHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}
