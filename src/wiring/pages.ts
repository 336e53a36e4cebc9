/** Builds the pages, the access to them, and the links that lead there. */

import { createSecretKey } from 'node:crypto';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import type { JobRoutes } from '../jobs/job-routes.ts';
import type { JobReader } from '../jobs/store/job-reader.ts';
import { createStanding } from '../pipelines/standing/standing.ts';
import { environmentDigests } from '../pipelines/sync/task-environment.ts';
import type { Fleet } from '../runs/fleet.ts';
import type { RunStore } from '../runs/run-store.ts';
import { holdsAt } from '../runs/sync/hold.ts';
import type { DeployApi } from '../triggers/deploy/deploy-api.ts';
import { replayDelivery } from '../triggers/replay.ts';
import { cancelRun, retryRun } from '../triggers/run-actions.ts';
import { type Access, createAccess, signRunLink } from '../web/access/access.ts';
import type { PageOptions } from '../web/access/guards.ts';
import { createLoginRoutes } from '../web/access/login-pages.ts';
import { boundOf } from '../web/access/oidc-people.ts';
import { createSessionRoutes } from '../web/access/session-routes.ts';
import { createOpenApiRoutes } from '../web/api/openapi.ts';
import { createAuditRoutes } from '../web/audit/audit-routes.ts';
import { createDeliveryRoutes } from '../web/deliveries/delivery-pages.ts';
import { createDeployRoutes } from '../web/deployments/deploy-routes.ts';
import type { Gate } from '../web/doors/gate.ts';
import { createNotFound } from '../web/doors/refusals.ts';
import { createAssetRoutes, loadAssets } from '../web/frame/assets.ts';
import { createHoldRoutes } from '../web/holds/hold-routes.ts';
import { createMetricsRoutes } from '../web/metrics/metrics.ts';
import { createWorkerRoutes } from '../web/metrics/worker-pages.ts';
import { createOverviewRoutes } from '../web/overview/overview-routes.ts';
import { createPromotionRoutes } from '../web/promotions/promotion-routes.ts';
import { createRunRoutes } from '../web/runs/run-pages.ts';
import type { ShownPlace } from '../web/services/place-reader.ts';
import { createServiceRoutes } from '../web/services/service-pages.ts';
import type { Actions } from './actions.ts';
import { type OpenPlace, taskEnvironment } from './repositories/places.ts';

export interface Links {
  /** Opens the run read-only for everybody who has the link. */
  signed(runId: string): string;
  plain(runId: string): string;
  /** Sets the port of the links. They need it if there is no public address. */
  listeningOn(port: number): void;
}

export async function createLinks({ server }: Config, store: RunStore): Promise<Links> {
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

interface PageParts {
  store: RunStore;
  links: Links;
  gate: Gate;
  log: Logger;
  deployApi: DeployApi;
  fleet: Fleet | null;
  places: readonly OpenPlace[];
  actions: Actions;
}

export async function buildPages(config: Config, parts: PageParts) {
  const { store, gate, log, fleet } = parts;
  const shared = await buildPageOptions(config, parts);
  const shown = shownPlaces(config, parts);
  const { runs, deployments, overview } = buildStreamingRoutes(config, parts, shared, shown);
  const jobs = await buildJobStream(config, shared.access, log);
  return {
    apps: [
      createLoginRoutes({ ...shared, gate, providerHost: config.oidc && new URL(config.oidc.issuer).host }),
      ...(await buildSignIn(config, parts, shared)),
      createSessionRoutes({ ...shared, store }),
      createAssetRoutes(shared.assets),
      createOpenApiRoutes(),
      overview.routes,
      runs.routes,
      ...buildTableRoutes(config, parts, shared, shown),
      deployments.routes,
      createMetricsRoutes({ ...shared, store, fleet, jobs, failures: gate.failures }),
      createWorkerRoutes({ ...shared, store, fleet, jobs }),
      ...(jobs ? [jobs.routes] : []),
    ],
    notFound: createNotFound(shared),
    async closeStreams() {
      overview.closeStreams();
      runs.closeStreams();
      deployments.closeStreams();
      jobs?.closeStreams();
      await jobs?.release();
    },
  };
}

async function buildSignIn({ oidc, server }: Config, { store, log }: PageParts, shared: PageOptions) {
  if (oidc === null) return [];
  // Its client costs time at the start.
  const { createOidcRoutes } = await import('../web/access/oidc-routes.ts');
  const https = isHttps(server.publicUrl);
  return [createOidcRoutes({ ...shared, config: oidc, key: await store.key('sign-in'), https, log })];
}

function isHttps(publicUrl: string | null): boolean {
  return publicUrl?.startsWith('https://') ?? false;
}

async function buildPageOptions(config: Config, { store, gate, links }: PageParts): Promise<PageOptions> {
  const { publicUrl } = config.server;
  const assets = loadAssets();
  const access = createAccess({
    tokens: config.apiTokens,
    gate,
    store,
    oidc: config.oidc && { bound: boundOf(config.oidc) },
    linkKey: await store.key('links'),
    https: isHttps(publicUrl),
    clock: Date.now,
  });
  return {
    access,
    assets,
    publicUrl,
    clock: Date.now,
    commitUrl: (sha, repository) => commitUrl(config, sha, repository),
    runUrl: links.plain,
  };
}

/** Builds the pages and interfaces that keep connections open, and send what is new on them. */
function buildStreamingRoutes(
  config: Config,
  { store, fleet, deployApi, actions, log }: PageParts,
  shared: PageOptions,
  shown: readonly ShownPlace[],
) {
  const onStreamError = (err: unknown) => log.warn({ err }, 'an event stream broke off');
  const overview = createOverviewRoutes({ ...shared, store, places: shown, onStreamError });
  const runs = createRunRoutes({
    ...shared,
    store,
    fleet,
    retry: (runId, actor) => retryRun({ store, promoteAgain: actions.promote.again }, runId, actor),
    cancel: (runId, actor) => cancelRun(store, runId, actor),
    decide: deployApi,
    approvals: actions.approvals,
    onStreamError,
  });
  const deployments = createDeployRoutes({
    ...shared,
    store,
    api: deployApi,
    allowedOrigins: config.deploy.allowedOrigins,
    onStreamError: (err) => log.warn({ err }, 'a log stream broke off'),
  });
  return { runs, deployments, overview };
}

/** Returns every place with what the pages show of it. */
function shownPlaces(config: Config, { store, places, log }: PageParts): ShownPlace[] {
  return places.map((open) => ({
    place: open.place,
    scope: open.scope,
    known: () =>
      open.known().catch((err: unknown) => {
        log.warn({ err }, 'the services of the branch cannot be listed');
        return [];
      }),
    standing: createStanding({
      mirror: open.mirror,
      store,
      scope: open.scope,
      environment: open.place.environment,
      promotes: open.promotion !== null,
      holds: async () => holdsAt(open.place, await store.holds()),
      environmentDigest: environmentDigests(taskEnvironment(config, open)),
    }),
  }));
}

/** Builds the pages of the services, of the holds and of the deliveries. */
function buildTableRoutes(
  { dokploy }: Config,
  { store, links, actions }: PageParts,
  shared: PageOptions,
  shown: readonly ShownPlace[],
) {
  const { holds, rollBack, startSync, promote } = actions;
  return [
    createServiceRoutes({
      ...shared,
      store,
      places: shown,
      hasOutside: dokploy !== null,
      rollBack,
      startSync,
    }),
    createHoldRoutes({ ...shared, store, holds }),
    createAuditRoutes({ ...shared, store }),
    createPromotionRoutes({ ...shared, store, promote, signedUrl: links.signed }),
    createDeliveryRoutes({
      ...shared,
      store,
      replay: (number, actor) => replayDelivery(store, number, actor),
    }),
  ];
}

/** Builds the pages of jobs. Null without REDIS_URL: then none of their code is loaded. Connects with the first request. */
async function buildJobStream(
  { redisUrl }: Pick<Config, 'redisUrl'>,
  access: Access,
  log: Logger,
): Promise<(JobRoutes & Pick<JobReader, 'queue'> & { release(): Promise<void> }) | null> {
  if (redisUrl === null) return null;
  const [{ openJobReader }, { createJobRoutes }] = await Promise.all([
    import('../jobs/store/job-reader.ts'),
    import('../jobs/job-routes.ts'),
  ]);
  const reader = openJobReader(redisUrl);
  const routes = createJobRoutes({
    reader,
    access,
    onStreamError: (err) => log.warn({ err }, 'the stream of a job broke off'),
  });
  return { ...routes, queue: reader.queue, release: reader.close };
}

/** Returns the page of a commit on GitHub, or on the Enterprise Server behind the address of the API. */
function commitUrl(
  { repositories: [first, ...others], githubApiUrl }: Config,
  sha: string,
  name?: string,
): string | null {
  const named = name === undefined ? first : [first, ...others].find((other) => other?.name === name);
  const repository = named?.fullName ?? null;
  if (repository === null) return null;
  const { protocol, host } = new URL(githubApiUrl);
  const web = host === 'api.github.com' ? 'https://github.com' : `${protocol}//${host}`;
  return `${web}/${repository}/commit/${sha}`;
}
