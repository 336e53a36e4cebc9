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
import { scopeOfInput } from '../runs/place.ts';
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
import { commandSource } from './commands.ts';
import { buildDeployApi, startDrift, startEvents } from './deployments.ts';
import type { Lifetime } from './lifetime.ts';
import { buildPages, createLinks, type Links } from './pages.ts';
import { buildReadiness, type Readiness, sayWhatIsMissing } from './readiness/readiness.ts';
import { onlyOne } from './store.ts';
import { secretsOf } from './sync.ts';
import { prepareWork, startWork, type Work } from './work.ts';

/** Pushes that arrive within this time are answered by the same head of the branch. */
const HEAD_MS = 20;

/** The reporters that have their own credentials, or need none. */
const REPORTERS_WITHOUT_GITHUB: readonly ReporterName[] = ['event-webhook', 'plan-comment'];

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
  const readiness = buildReadiness(config, work.store, work.sync);
  life.onEnd('readiness', readiness.stop);
  // The webhook needs the reconciler, which starts later.
  const reconciler: { current: Reconciler | null } = { current: null };
  const onBranchMoved = () => reconciler.current?.nudge();
  const { app, closeStreams } = await buildApp(work, { gate, links, readiness, onBranchMoved });
  front.show(app);
  const server = early ?? (await listen());
  // The server is registered once more, so that it closes before the store does.
  if (early) life.onEnd('server', () => early.close());
  life.onEnd('event streams', closeStreams);
  links.listeningOn(server.port);
  const { host } = config.server;
  log.info({ url: `http://${shownHost(host)}:${server.port}`, version: VERSION, host }, 'listening');

  warnOfSettings(config, log);
  life.onEnd('reporters', await startReporters(work, links));
  const { labels } = config.deploy;
  const worker = await startWork(work, { command: 'serve', labels, concurrency: null });
  const looking = await startLooking(work, (started) => {
    reconciler.current = started;
  });
  life.onEnd('looking for work', looking);
  void sayWhatIsMissing(readiness, log);
  return worker.hurry;
}

function warnOfSettings({ github, selfHeal, dokploy }: Config, log: Logger): void {
  if (!github) {
    log.warn('no commit statuses: they need GITHUB_TOKEN, and GITHUB_REPOSITORY or a GIT_REPO_URL on GitHub');
  }
  if (selfHeal && !dokploy) log.warn('SELF_HEAL does nothing without CONFIG_HASH_STORE=dokploy');
}

interface AppParts {
  gate: ReturnType<typeof createGate>;
  links: Links;
  readiness: Readiness;
  onBranchMoved(): void;
}

/** Builds everything that answers requests. */
async function buildApp(work: Work, { gate, links, readiness, onBranchMoved }: AppParts) {
  const { config, log, store, plans } = work;
  const { mirror } = work.sync;
  const { fleet } = work.opened;
  const lastGoodRules = async () => (await store.ledger(scopeOfInput({ branch: config.git.branch }))).rules;
  const services = createKnownServices({ mirror, lastGoodRules });
  const known = (): Promise<string[]> =>
    services.known().catch((err: unknown) => {
      log.warn({ err }, 'the services of the branch cannot be listed');
      return [];
    });
  const deployApi = buildDeployApi(config, store, work.tools, fleet);
  const actions = buildActions(work, services);
  const pages = await buildPages(config, { store, links, gate, log, deployApi, fleet, known, actions });
  const mask = createRedactor(secretsOf(config));
  const keysOf = (secrets: readonly string[]) => secrets.map((secret) => createSecretKey(secret, 'utf8'));
  const shared = { store, gate, branch: config.git.branch, runUrl: links.signed };
  const app = createApp({
    githubWebhook: createGitHubWebhook({
      ...shared,
      secrets: keysOf(config.webhookSecrets),
      repository: config.repository,
      previews: config.previews,
      plans: plans.ownPulls,
      commands: commandSource(config),
      namedBy: createBranchRules({ mirror, lastGoodRules, rememberMs: HEAD_MS }).namedBy,
      inbox: createInbox({ store, now: Date.now }),
      onBranchMoved,
    }),
    syncApi: createSyncApi({
      ...services,
      ...shared,
      secrets: keysOf(config.syncSecrets),
      requireTimestamp: config.requireTimestamp,
      now: Date.now,
    }),
    pubsubPush: plans.pubsubPush(gate),
    pages: pages.apps,
    isHealthy: store.isAlive,
    readiness: async () => JSON.parse(mask(JSON.stringify(await readiness.look()))),
    log,
  });
  return { app, closeStreams: pages.closeStreams };
}

/** The name of the duty stands in the store, where other versions look for it. */
function startReporters({ config, log, life, opened, store, plans }: Work, links: Links) {
  const loop = { log, onFailure: life.fail };
  return onlyOne(opened, 'tell', log, async () => [
    ...startStatuses(config, store, links.signed, loop),
    plans.startComments(links.signed, life.fail),
    startEvents(config, store, links.plain, loop),
  ]);
}

/** Starts what finds work without a request: reconcile, drift checks, and the retention. */
function startLooking(
  { config, log, opened, store, sync, tools }: Work,
  onReconciler: (started: Reconciler) => void,
) {
  return onlyOne(opened, 'look', log, async () => {
    const looking = startReconciler({
      store,
      branch: config.git.branch,
      intervalMs: config.reconcileIntervalMs,
      onLook: missedDeliveries(config, store, log),
      due: sync.due,
      log,
    });
    onReconciler(looking);
    const retention = startRetention({
      store,
      retentionMs: config.retentionMs,
      reporters: config.github ? REPORTERS : REPORTERS_WITHOUT_GITHUB,
      now: Date.now,
      log,
    });
    return [looking.stop, await startDrift(config, store, tools, log), retention.stop];
  });
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

/** Does nothing unless the server knows its own address, and may ask GitHub about the repository. */
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
