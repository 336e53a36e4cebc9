/** The composition root: from Config to everything that runs, and its release in reverse order. */

import { createSecretKey } from 'node:crypto';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { readFailedDeliveries } from '../github/hook-deliveries.ts';
import { createRedactor } from '../process/output/redact.ts';
import { startGitHubReporter } from '../reporters/github-reporters.ts';
import { REPORTERS, type ReporterName } from '../runs/report.ts';
import type { RunStore } from '../runs/run-store.ts';
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
import { buildActions } from './actions.ts';
import { commandSources } from './commands.ts';
import { buildDeployApi, startDrift, startEvents } from './deployments.ts';
import type { Lifetime } from './lifetime.ts';
import { startNotifications } from './notifications.ts';
import { buildPages, createLinks, type Links } from './pages.ts';
import { buildReadiness, type Readiness, sayWhatIsMissing } from './readiness/readiness.ts';
import { type GitHubRepository, reportTargets } from './repositories/github.ts';
import { startPromoters } from './repositories/promotions.ts';
import { onlyOne } from './store.ts';
import { secretsOf } from './sync.ts';
import { prepareWork, startWork, type Work } from './work.ts';

/** The reporters that have their own credentials, or need none. */
const REPORTERS_WITHOUT_GITHUB: readonly ReporterName[] = ['event-webhook', 'plan-comment', 'notification'];

/** Starts the whole server, which then answers requests and works. Resolves to the function that cuts a drain short. */
export async function startProgram(config: Config, log: Logger, life: Lifetime): Promise<() => void> {
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
  // The server listens before the store is open if that is a database, which may be away for a while.
  const early = config.storeUrl === null ? null : await listen();
  const work = await prepareWork(config, log, life, front.storeOpened);
  const links = await createLinks(config, work.store);
  const readiness = buildReadiness(config, work.store, work.sync.places);
  life.onEnd('readiness', readiness.stop);
  // The webhook needs the reconcilers, which start later.
  const reconcilers = new Map<string, Reconciler>();
  const onBranchMoved = (scope: string) => reconcilers.get(scope)?.nudge();
  const { app, closeStreams } = await buildApp(work, { gate, links, readiness, onBranchMoved });
  front.show(app);
  const server = early ?? (await listen());
  // The server is registered once more, so that it closes before the store does.
  if (early) life.onEnd('server', () => early.close());
  life.onEnd('event streams', closeStreams);
  links.listeningOn(server.port);
  const { host } = config.server;
  log.info({ url: `http://${shownHost(host)}:${server.port}`, version: VERSION, host }, 'listening');

  warnOfSettings(work);
  life.onEnd('reporters', await startReporters(work, links));
  const { labels } = config.deploy;
  const worker = await startWork(work, { command: 'serve', labels, concurrency: null });
  const looking = await startLooking(work, (scope, started) => void reconcilers.set(scope, started));
  life.onEnd('looking for work', looking);
  void sayWhatIsMissing(readiness, log);
  return worker.hurry;
}

function warnOfSettings({ config: { repositories, selfHeal, dokploy }, github, log }: Work): void {
  const silent = repositories.filter(({ fullName }) => !github.some((other) => other.fullName === fullName));
  if (silent.length > 0) {
    const named =
      silent[0]?.environments[0]?.name == null ? {} : { repositories: silent.map(({ name }) => name) };
    log.warn(
      named,
      'no commit statuses: they need GITHUB_TOKEN, and GITHUB_REPOSITORY or a GIT_REPO_URL on GitHub',
    );
  }
  if (selfHeal && !dokploy) log.warn('SELF_HEAL does nothing without CONFIG_HASH_STORE=dokploy');
}

interface AppParts {
  gate: ReturnType<typeof createGate>;
  links: Links;
  readiness: Readiness;
  onBranchMoved(scope: string): void;
}

/** Builds everything that answers requests. */
async function buildApp(work: Work, { gate, links, readiness, onBranchMoved }: AppParts) {
  const { config, log, store, plans, places } = work;
  const { fleet } = work.opened;
  const deployApi = buildDeployApi(config, store, work.tools, fleet);
  const actions = buildActions(work);
  const pages = await buildPages(config, { store, links, gate, log, deployApi, fleet, places, actions });
  const mask = createRedactor(secretsOf(config));
  const keysOf = (secrets: readonly string[]) => secrets.map((secret) => createSecretKey(secret, 'utf8'));
  const shared = { store, gate, runUrl: links.signed };
  const app = createApp({
    githubWebhook: createGitHubWebhook({
      ...shared,
      secrets: keysOf(config.webhookSecrets),
      namesEnvironments: places.length > 1,
      places: places
        .filter(({ promotion }) => promotion === null)
        .map((open) => ({
          ...open,
          fullName: open.repository.fullName,
          onBranchMoved: () => onBranchMoved(open.scope),
        })),
      previews: config.previews,
      plans: plans.ownPulls,
      commands: commandSources(config, work.github),
      inbox: createInbox({ store, now: Date.now }),
    }),
    syncApi: createSyncApi({
      gate,
      runUrl: links.signed,
      start: actions.startSync,
      secrets: keysOf(config.syncSecrets),
      requireTimestamp: config.requireTimestamp,
      now: Date.now,
    }),
    pubsubPush: plans.pubsubPush(gate),
    pages: pages.apps,
    notFound: pages.notFound,
    isHealthy: store.isAlive,
    readiness: async () => JSON.parse(mask(JSON.stringify(await readiness.look()))),
    log,
  });
  return { app, closeStreams: pages.closeStreams };
}

/** The name of the duty stands in the store, where other versions look for it. */
function startReporters({ config, log, life, opened, store, plans, github }: Work, links: Links) {
  const loop = { log, onFailure: life.fail };
  return onlyOne(opened, 'tell', log, async () => [
    ...startStatuses(github, store, links.signed, loop),
    plans.startComments(links.signed, life.fail),
    startEvents(config, store, links.plain, loop),
    startNotifications(config, store, links.plain, loop),
  ]);
}

/** Starts what finds work without a request: reconcile, drift checks, and the retention. */
function startLooking(
  { config, log, opened, store, sync, places, tools, github }: Work,
  onReconciler: (scope: string, started: Reconciler) => void,
) {
  return onlyOne(opened, 'look', log, async () => {
    const onLook = missedDeliveries(config, github, store, log);
    const following = sync.places.filter(({ promotion }) => promotion === null);
    const looking = following.map((open, index) => {
      const started = startReconciler({
        store,
        place: open.place,
        intervalMs: config.reconcileIntervalMs,
        ...(index === 0 && { onLook }),
        due: (signal) => sync.due(open, signal),
        log,
      });
      onReconciler(open.scope, started);
      return started.stop;
    });
    const retention = startRetention({
      store,
      retentionMs: config.retentionMs,
      reporters: github.length > 0 ? REPORTERS : REPORTERS_WITHOUT_GITHUB,
      now: Date.now,
      log,
    });
    return [
      ...looking,
      ...startPromoters(store, places, log),
      await startDrift(config, store, tools, log),
      retention.stop,
    ];
  });
}

function startStatuses(
  github: readonly GitHubRepository[],
  store: RunStore,
  runUrl: (runId: string) => string,
  loop: { log: Logger; onFailure(error: unknown): void },
): (() => Promise<void>)[] {
  if (github.length === 0) return [];
  const reporter = startGitHubReporter({
    store,
    targetOf: reportTargets(github),
    client: { version: VERSION },
    comments: true,
    runUrl,
    ...loop,
  });
  return [() => reporter.stop()];
}

/** Does nothing unless the server knows its own address, and may ask GitHub about the repository. */
function missedDeliveries(
  { server: { publicUrl } }: Config,
  github: readonly GitHubRepository[],
  store: RunStore,
  log: Logger,
): () => void {
  if (publicUrl === null) return () => undefined;
  const looks = github.map(({ owner, repo, access }) => {
    const failedDeliveries = (since: number) => {
      const { apiUrl, token, version } = access;
      const hook = { apiUrl, token, version, repository: { owner, repo }, hookUrl: `${publicUrl}/webhook` };
      return readFailedDeliveries(hook, since);
    };
    return createMissedDeliveries({ failedDeliveries, store, now: steadyNow, log });
  });
  return () => {
    for (const look of looks) void look();
  };
}

function shownHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}
