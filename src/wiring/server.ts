/** The composition root: from Config to everything that runs, and its release in reverse order. */

import { createSecretKey } from 'node:crypto';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { createGitHubComments } from '../github/github-comments.ts';
import { createStatusWriter } from '../github/github-statuses.ts';
import { readFailedDeliveries } from '../github/hook-deliveries.ts';
import { createBranchRules } from '../pipelines/rules/branch-rules.ts';
import { createKnownServices } from '../pipelines/selection/known-services.ts';
import { createRedactor } from '../process/output/redact.ts';
import { startGitHubReporter } from '../reporters/github-reporters.ts';
import { syncGroup } from '../runs/kinds/sync.ts';
import { REPORTERS, type ReporterName, type RunStore } from '../runs/run-store.ts';
import { steadyNow } from '../steady-clock.ts';
import { createGitHubWebhook } from '../triggers/github/github-webhook.ts';
import { createInbox } from '../triggers/github/inbox.ts';
import { createSyncApi } from '../triggers/sync/sync-api.ts';
import { createMissedDeliveries } from '../triggers/timers/missed-deliveries.ts';
import { type Reconciler, startReconciler } from '../triggers/timers/reconcile.ts';
import { VERSION } from '../version.ts';
import { createGate } from '../web/doors/gate.ts';
import { createApp } from '../web/frame/app.ts';
import { createFront } from '../web/frame/front.ts';
import { type RunningServer, startServer } from '../web/frame/server.ts';
import { startRetention } from '../worker/retention.ts';
import { commandSource } from './commands.ts';
import { buildDeployApi, startDrift, startEvents } from './deployments.ts';
import type { Lifetime } from './lifetime.ts';
import { buildPages, createLinks } from './pages.ts';
import { buildReadiness, sayWhatIsMissing } from './readiness/readiness.ts';
import { onlyOne } from './store.ts';
import { secretsOf } from './sync.ts';
import { prepareWork, startWork } from './work.ts';

/** Pushes that arrive within this time are answered by the same head of the branch. */
const HEAD_MS = 20;

/** Those that have their own credentials, or none. */
const REPORTERS_WITHOUT_GITHUB: readonly ReporterName[] = ['event-webhook', 'plan-comment'];

/** Starts the whole server. When it resolves, requests are answered and work is done. Resolves to what cuts a drain short. */
export async function startServices(config: Config, log: Logger, life: Lifetime): Promise<() => void> {
  const gate = createGate({
    trustedProxies: config.server.trustedProxies,
    clock: () => performance.now(),
    log,
  });
  const front = createFront();
  const listen = async (): Promise<RunningServer> => {
    const listening = await startServer(front, { ...config.server, gate, log, onFailure: life.fail });
    life.onEnd('server', () => listening.close());
    return listening;
  };
  // A database may be away for a while, a file is not.
  const early = config.storeUrl === null ? null : await listen();
  const work = await prepareWork(config, log, life, front.storeOpened);
  const { opened, store, plans, tools } = work;
  const { mirror, due } = work.sync;
  const links = await createLinks(config, store);
  const deployApi = buildDeployApi(config, store, tools, opened.fleet);
  const readiness = buildReadiness(config, store, work.sync);
  life.onEnd('readiness', readiness.stop);
  // Made before the doors that nudge it, started after them.
  let reconciler: Reconciler | null = null;
  const lastGoodRules = async () => (await store.ledger(syncGroup(config.git.branch))).rules;
  const known = createKnownServices({ mirror, lastGoodRules });
  const keysOf = (secrets: readonly string[]) => secrets.map((secret) => createSecretKey(secret, 'utf8'));
  const mask = createRedactor(secretsOf(config));
  const pages = await buildPages(
    config,
    store,
    { links, gate, log, deployApi, fleet: opened.fleet },
    async () => {
      try {
        return await known.known();
      } catch (err) {
        log.warn({ err }, 'the services of the branch cannot be listed');
        return [];
      }
    },
  );
  const app = createApp({
    githubWebhook: createGitHubWebhook({
      store,
      secrets: keysOf(config.webhookSecrets),
      gate,
      branch: config.git.branch,
      repository: config.repository,
      previews: config.previews,
      plans: plans.ownPulls,
      commands: commandSource(config),
      namedBy: createBranchRules({ mirror, lastGoodRules, rememberMs: HEAD_MS }).namedBy,
      runUrl: links.signed,
      inbox: createInbox({ store, now: Date.now }),
      onBranchMoved: () => reconciler?.nudge(),
    }),
    syncApi: createSyncApi({
      ...known,
      store,
      secrets: keysOf(config.syncSecrets),
      gate,
      branch: config.git.branch,
      requireTimestamp: config.requireTimestamp,
      runUrl: links.signed,
      now: Date.now,
    }),
    pubsubPush: plans.pubsubPush(gate),
    pages: pages.apps,
    isHealthy: store.isAlive,
    readiness: async () => JSON.parse(mask(JSON.stringify(await readiness.look()))),
    log,
  });
  front.show(app);
  const server = early ?? (await listen());
  // The doors close before the store does.
  if (early) life.onEnd('server', () => early.close());
  life.onEnd('event streams', pages.closeStreams);
  links.listeningOn(server.port);
  log.info(
    {
      url: `http://${shownHost(config.server.host)}:${server.port}`,
      version: VERSION,
      host: config.server.host,
    },
    'listening',
  );

  if (!config.github) {
    log.warn('no commit statuses: they need GITHUB_TOKEN, and GITHUB_REPOSITORY or a GIT_REPO_URL on GitHub');
  }
  life.onEnd(
    'reporters',
    await onlyOne(opened, 'tell', log, async () => [
      ...startStatuses(config, store, links.signed, { log, onFailure: life.fail }),
      plans.startComments(links.signed, life.fail),
      startEvents(config, store, links.plain, { log, onFailure: life.fail }),
    ]),
  );
  if (config.selfHeal && !config.dokploy)
    log.warn('SELF_HEAL does nothing without CONFIG_HASH_STORE=dokploy');
  const { labels } = config.deploy;
  const worker = await startWork(config, work, { command: 'serve', labels, concurrency: null }, log, life);
  life.onEnd(
    'looking for work',
    await onlyOne(opened, 'look', log, async () => {
      const looking = startReconciler({
        store,
        branch: config.git.branch,
        intervalMs: config.reconcileIntervalMs,
        onLook: missedDeliveries(config, store, log),
        due,
        log,
      });
      reconciler = looking;
      const retention = startRetention({
        store,
        retentionMs: config.retentionMs,
        reporters: config.github ? REPORTERS : REPORTERS_WITHOUT_GITHUB,
        now: Date.now,
        log,
      });
      return [looking.stop, await startDrift(config, store, tools, log), retention.stop];
    }),
  );
  void sayWhatIsMissing(readiness, log);
  return worker.hurry;
}

function startStatuses(
  { github }: Config,
  store: RunStore,
  runUrl: (runId: string) => string,
  loop: { log: Logger; onFailure(error: unknown): void },
): (() => Promise<void>)[] {
  if (!github) return [];
  const { owner, repo, apiUrl, token } = github;
  const reporter = startGitHubReporter({
    store,
    setStatus: createStatusWriter({ apiUrl, token, version: VERSION }),
    comments: { store, client: createGitHubComments({ apiUrl, token, version: VERSION }) },
    repository: { owner, repo },
    runUrl,
    ...loop,
  });
  return [() => reporter.stop()];
}

/** Only where we know our own address, and may ask GitHub about the repository. */
function missedDeliveries({ github, server }: Config, store: RunStore, log: Logger): () => void {
  if (!github || server.publicUrl === null) return () => undefined;
  const { owner, repo, apiUrl, token } = github;
  const hookUrl = `${server.publicUrl}/webhook`;
  const hook = { apiUrl, token, version: VERSION, repository: { owner, repo }, hookUrl };
  const failedDeliveries = (since: number) => readFailedDeliveries(hook, since);
  const look = createMissedDeliveries({ failedDeliveries, store, now: steadyNow, log });
  return () => void look();
}

function shownHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}
