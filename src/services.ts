/** The composition root: from Config to everything that runs, and its release in reverse order. */

import { createSecretKey } from 'node:crypto';
import { access, constants, mkdir, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import type { Logger } from 'pino';
import type { Config } from './config.ts';
import { createLocalExecutor } from './executor/local.ts';
import { requireFreeSpace } from './git/disk-space.ts';
import { createGit, type Git } from './git/git.ts';
import { createMirror, type Mirror } from './git/mirror.ts';
import { clearMirrorLock } from './git/mirror-lock.ts';
import { createScratchRepository } from './git/scratch-repository.ts';
import { createWorkspace } from './git/workspace.ts';
import { dueServices } from './pipelines/due-services.ts';
import { createKnownServices } from './pipelines/known-services.ts';
import type { Pipeline, PipelineContext } from './pipelines/pipeline.ts';
import { type PreviewOptions, preview } from './pipelines/preview.ts';
import { servicesNamedBy } from './pipelines/service-rules.ts';
import { type SyncOptions, sync } from './pipelines/sync.ts';
import { clearLeftoverLock } from './pipelines/sync-lock.ts';
import { captureProcess } from './process/capture.ts';
import { taskSecrets } from './process/environment.ts';
import { createRedactor } from './process/redact.ts';
import { createGitHubClient } from './reporters/github-client.ts';
import { createGitHubComments } from './reporters/github-comments.ts';
import { createHookReader } from './reporters/hook-deliveries.ts';
import { startStatusReporter } from './reporters/status-reporter.ts';
import { syncGroup } from './runs/run.ts';
import { REPORTERS, type RunStore } from './runs/run-store.ts';
import { createDokployHashes } from './stores/dokploy-hashes/dokploy-hashes.ts';
import { createSqliteStore } from './stores/sqlite-store/sqlite-store.ts';
import { createGitHubWebhook } from './triggers/github-webhook.ts';
import { createInbox } from './triggers/inbox.ts';
import { createMissedDeliveries } from './triggers/missed-deliveries.ts';
import { type Reconciler, startReconciler } from './triggers/reconcile.ts';
import { replayDelivery } from './triggers/replay.ts';
import { cancelRun, retryRun } from './triggers/run-actions.ts';
import { createSyncApi } from './triggers/sync-api.ts';
import { VERSION } from './version.ts';
import { createAccess, signRunLink } from './web/access.ts';
import { createApp } from './web/app.ts';
import { createAssetRoutes, loadAssets } from './web/assets.ts';
import { createDeliveryRoutes } from './web/delivery-pages.ts';
import { createLoginRoutes } from './web/login-pages.ts';
import { createReadiness, type Readiness } from './web/readiness.ts';
import { createRunRoutes } from './web/run-pages.ts';
import { startServer } from './web/server.ts';
import { createServiceRoutes } from './web/service-pages.ts';
import { recover } from './worker/recover.ts';
import { startRetention } from './worker/retention.ts';
import { startWorker } from './worker/worker.ts';

/** Runs worked on at once, each of another group. */
const CONCURRENT_RUNS = 4;
/** Fewer, so that a sync always finds room. */
const CONCURRENT_PREVIEWS = 2;
const GIT_TIMEOUT_MS = 600_000;
/** Shorter, as anybody may open a pull request. */
const PREVIEW_GIT_TIMEOUT_MS = 120_000;
const LOCK_WAIT_MS = 600_000;
const PROBE_TIMEOUT_MS = 5_000;

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
  const store = await createSqliteStore({ directory: config.dataDir, queueLimit: config.queueLimit });
  releasers.push(() => store.close());
  await recover({ store, maxAttempts: config.retryLimit, marker: gitMarker(config), log });

  await clearLeftoverLock(config.workspaceDir);
  const { pipeline, mirror, due } = buildSync(config, store, log);
  await clearMirrorLock(mirror.directory);
  // Of tasks that were cut off, and whose run may go on without them.
  await rm(taskFiles(config), { recursive: true, force: true });
  const links = await createLinks(config, store);
  const readiness = createReadiness(
    {
      store: () => store.check(),
      workspace: () => checkWorkspace(config),
      disk: () => requireSpace(config),
      git: () => checkProgram(config, ['git', '--version'], 'Install git.'),
      task_runner: () =>
        checkProgram(config, [...config.invokeCommand, '--version'], 'Install invoke or set INVOKE_COMMAND.'),
    },
    Date.now,
  );
  // Made before the doors that nudge it, started after them.
  let reconciler: Reconciler | null = null;
  const known = createKnownServices({
    mirror,
    lastGoodRules: async () => (await store.ledger(syncGroup(config.git.branch))).rules,
  });
  const secrets = config.webhookSecrets.map((secret) => createSecretKey(secret, 'utf8'));
  const pages = await buildPages(config, store, links, log, async () => {
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
  if (config.selfHeal && !config.dokploy)
    log.warn('SELF_HEAL does nothing without CONFIG_HASH_STORE=dokploy');
  const worker = startWorker({
    store,
    pipelines: { sync: pipeline, preview: await buildPreview(config, store, mirror) },
    owner: `${hostname()}:${process.pid}`,
    concurrency: CONCURRENT_RUNS,
    limits: { preview: CONCURRENT_PREVIEWS },
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
  const retention = startRetention({
    store,
    retentionMs: config.retentionMs,
    reporters: config.github ? REPORTERS : [],
    now: Date.now,
    log,
  });
  releasers.push(retention.stop);
  void sayWhatIsMissing(readiness, log);
  return worker.hurry;
}

/** The folder for the files in which tasks say what they did. */
function taskFiles({ dataDir }: Config): string {
  return path.join(dataDir, 'tmp');
}

/** Stands in the environment of every git of this server, so that the next one finds what outlived it. */
function gitMarker({ dataDir }: Config): string {
  return `IAC_RUNNER_DATA=${dataDir}`;
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

function requireSpace({ dataDir, workspaceDir, diskFloorBytes: floorBytes }: Config): Promise<void> {
  return requireFreeSpace({ directories: [dataDir, workspaceDir], floorBytes });
}

function buildSync(config: Config, store: RunStore, log: Logger) {
  const name = repositoryName(config.git.url);
  const git = buildGit(config, GIT_TIMEOUT_MS);
  const mirror = createMirror({
    git,
    directory: path.join(config.dataDir, 'mirrors', `${name}.git`),
    branch: config.git.branch,
    signers: config.commitSigners,
    log,
    requireSpace: () => requireSpace(config),
  });
  const options: SyncOptions = {
    mirror,
    workspace: createWorkspace({
      git,
      mirror,
      directory: path.join(config.workspaceDir, name),
      requireSpace: () => requireSpace(config),
    }),
    workspaceDir: config.workspaceDir,
    requireSignature: config.requireSignedCommits,
    now: Date.now,
    ledger: store.ledger,
    outside: config.dokploy && {
      hashes: createDokployHashes(config.dokploy),
      store,
      selfHeal: config.selfHeal,
      now: Date.now,
    },
    executor: createLocalExecutor({
      secrets: secretsOf(config),
      maxOutputBytes: config.logLimitBytes,
    }),
    invokeCommand: config.invokeCommand,
    plumbing: config.plumbing,
    taskEnvironment: config.taskEnvironment,
    tempDir: taskFiles(config),
    mask: createRedactor(secretsOf(config)),
    timeoutMs: config.syncTimeoutMs,
    concurrency: config.syncConcurrency,
    lockWaitMs: LOCK_WAIT_MS,
  };
  const dueOptions = { ...options, retries: config.syncRetries };
  return {
    mirror,
    pipeline: (context: PipelineContext<'sync'>) => sync(options, context),
    due: (scope: string, signal: AbortSignal) => dueServices(dueOptions, scope, signal),
  };
}

function buildGit(config: Config, timeoutMs: number): Git {
  return createGit({
    path: config.plumbing.PATH ?? '',
    home: config.plumbing.HOME ?? config.dataDir,
    remote: { url: config.git.url, token: config.git.token },
    timeoutMs,
    network: { ...networkOf(config.plumbing), IAC_RUNNER_DATA: config.dataDir },
  });
}

async function buildPreview(config: Config, store: RunStore, mirror: Mirror): Promise<Pipeline<'preview'>> {
  const git = buildGit(config, PREVIEW_GIT_TIMEOUT_MS);
  const directory = path.join(config.dataDir, 'previews');
  // What a killed server left there.
  await rm(directory, { recursive: true, force: true });
  const options: PreviewOptions = {
    mirror,
    async openScratch({ id }) {
      await requireSpace(config);
      const objects = path.join(mirror.directory, 'objects');
      return createScratchRepository({ git, directory: path.join(directory, id), objects });
    },
    ledger: store.ledger,
    taskEnvironment: config.taskEnvironment,
  };
  return (context) => preview(options, context);
}

/** What must never be seen in a log, even when a task prints it. */
function secretsOf(config: Config): string[] {
  const url = URL.parse(config.git.url);
  // In an ssh address the user is only a name; in an http one it may be a token.
  const mayHoldSecret = url !== null && (url.password !== '' || /^https?:$/.test(url.protocol));
  return [
    ...config.webhookSecrets,
    ...config.apiTokens.map(({ token }) => token),
    ...(config.dokploy ? [config.dokploy.apiKey] : []),
    ...taskSecrets({ ...config.plumbing, ...config.taskEnvironment }),
    ...(config.git.token ? [config.git.token] : []),
    ...(mayHoldSecret ? taskSecrets({ GIT_REPO_URL: config.git.url }) : []),
  ];
}

/** The last part of the repository's address, as a folder name. */
function repositoryName(url: string): string {
  const last =
    url
      .replace(/\/+$/, '')
      .split(/[/:]/)
      .at(-1)
      ?.replace(/\.git$/, '') ?? '';
  return last.replace(/[^A-Za-z0-9._-]/g, '_').replace(/^\.+/, '') || 'repository';
}

function networkOf(plumbing: Readonly<Record<string, string>>): Record<string, string> {
  const names = ['SSL_CERT_FILE', 'SSL_CERT_DIR', 'SSH_AUTH_SOCK', 'HTTPS_PROXY', 'HTTP_PROXY', 'NO_PROXY'];
  return Object.fromEntries(Object.entries(plumbing).filter(([name]) => names.includes(name)));
}

interface Links {
  /** Opens the run read-only for whoever holds the link. */
  signed(runId: string): string;
  plain(runId: string): string;
  /** Without a public address the port that was really taken stands in the links. */
  listeningOn(port: number): void;
}

async function createLinks({ server }: Config, store: RunStore): Promise<Links> {
  const key = createSecretKey(await store.key('links'));
  let base = server.publicUrl ?? `http://localhost:${server.port}`;
  const plain = (runId: string): string => `${base}/runs/${runId}`;
  return {
    plain,
    signed: (runId) => `${plain(runId)}?key=${signRunLink(key, runId)}`,
    listeningOn(port) {
      base = server.publicUrl ?? `http://localhost:${port}`;
    },
  };
}

async function buildPages(
  config: Config,
  store: RunStore,
  links: Links,
  log: Logger,
  known: () => Promise<string[]>,
) {
  const assets = loadAssets();
  const { publicUrl } = config.server;
  const access = createAccess({
    tokens: config.apiTokens,
    sessionKey: await store.key('sessions'),
    linkKey: await store.key('links'),
    https: publicUrl?.startsWith('https://') ?? false,
    clock: Date.now,
  });
  const { routes, closeStreams } = createRunRoutes({
    store,
    access,
    assets,
    retry: (runId, actor) => retryRun(store, runId, actor),
    cancel: (runId, actor) => cancelRun(store, runId, actor),
    clock: Date.now,
    commitUrl: (sha) => commitUrl(config, sha),
    runUrl: links.plain,
    publicUrl,
    onStreamError: (err) => log.warn({ err }, 'an event stream broke off'),
  });
  const services = createServiceRoutes({
    store,
    scope: syncGroup(config.git.branch),
    known,
    hasOutside: config.dokploy !== null,
    access,
    assets,
    clock: Date.now,
    commitUrl: (sha) => commitUrl(config, sha),
    runUrl: links.plain,
    publicUrl,
  });
  const deliveries = createDeliveryRoutes({
    store,
    access,
    assets,
    replay: (number, actor) => replayDelivery(store, number, actor),
    clock: Date.now,
    runUrl: links.plain,
    publicUrl,
  });
  const login = createLoginRoutes({ access, assets, publicUrl });
  return {
    apps: { login, assets: createAssetRoutes(assets), runs: routes, services, deliveries },
    closeStreams,
  };
}

/** A commit's page on GitHub, or on the Enterprise Server behind the API address. */
function commitUrl({ repository, githubApiUrl }: Config, sha: string): string | null {
  if (repository === null) return null;
  const { protocol, host } = new URL(githubApiUrl);
  const web = host === 'api.github.com' ? 'https://github.com' : `${protocol}//${host}`;
  return `${web}/${repository}/commit/${sha}`;
}

async function checkWorkspace({ workspaceDir }: Config): Promise<void> {
  await mkdir(workspaceDir, { recursive: true });
  await access(workspaceDir, constants.W_OK | constants.X_OK);
}

async function checkProgram(config: Config, argv: [string, ...string[]], remedy: string): Promise<void> {
  const result = await captureProcess({
    argv,
    cwd: '/',
    env: { ...config.plumbing },
    timeoutMs: PROBE_TIMEOUT_MS,
  });
  if (result.kind === 'exited' && result.exitCode === 0) return;
  const problem = result.kind === 'not_started' ? result.message : `${argv.join(' ')} did not succeed.`;
  throw new Error(`${problem} ${remedy}`);
}

async function sayWhatIsMissing(readiness: () => Promise<Readiness>, log: Logger): Promise<void> {
  const { checks } = await readiness();
  for (const [part, check] of Object.entries(checks)) {
    if (check.status === 'failed') log.warn({ part, problem: check.problem }, 'not ready');
  }
}

function shownHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}
