/** The overview, the environments as JSON, and the stream that says that something has changed. */

import { type Context, Hono } from 'hono';
import type { RunStore } from '../../runs/run-store.ts';
import { environmentName, placesNamed } from '../../triggers/place.ts';
import { HOUR } from '../../units.ts';
import type { RunPageEnv } from '../access/access.ts';
import { createGuards, type PageOptions } from '../access/guards.ts';
import { refuse } from '../doors/refusals.ts';
import { createEventStreams, type EventStreams } from '../frame/event-streams.ts';
import { pageHeaders, prefersJson } from '../frame/page-headers.ts';
import { errorLine } from '../runs/error-line.ts';
import { readEnvironment, type ShownPlace, usualDuration } from '../services/place-reader.ts';
import { environmentJson, environmentSummaryJson } from '../services/standing-json.ts';
import { tellChanges } from './change-stream.ts';
import { overviewPage } from './overview-page.ts';
import { type Failure, failureKey } from './overview-view.ts';

export interface OverviewRoutesOptions extends PageOptions {
  store: Pick<RunStore, 'run' | 'runs' | 'active' | 'holds' | 'watch' | 'events' | 'eventsOf'>;
  places: readonly ShownPlace[];
  /** How many streams may be open. Left out: 200. */
  maxStreams?: number;
  /** Called when a stream broke off. */
  onStreamError?: (error: unknown) => void;
}

export interface OverviewRoutes {
  routes: Hono<RunPageEnv>;
  /** Ends the open streams, so that the server can close. */
  closeStreams(): void;
}

type OverviewContext = Context<RunPageEnv>;

/** The pushes that the strip shows. */
const STRIP_LENGTH = 30;
/** More runs that await an approval are only in the list of runs. */
const MAX_WAITING = 20;

export function createOverviewRoutes(options: OverviewRoutesOptions): OverviewRoutes {
  const { access, maxStreams, onStreamError } = options;
  const { signedIn } = createGuards(options);
  const streams = createEventStreams({ access, maxStreams, maxStreamMs: HOUR, onError: onStreamError });
  const routes = new Hono<RunPageEnv>();
  for (const path of ['/', '/environments', '/environments/:name', '/changes'])
    routes.use(path, pageHeaders());
  routes.get('/', signedIn, (c) => showOverview(c, options));
  routes.get('/environments', signedIn, (c) => showOverview(c, options));
  routes.get('/environments/:name', signedIn, (c) => showEnvironment(c, options));
  routes.get('/changes', signedIn, (c) => openChanges(c, options, streams));
  return { routes, closeStreams: streams.close };
}

async function showOverview(c: OverviewContext, options: OverviewRoutesOptions) {
  const { store, places, runUrl } = options;
  const holds = await store.holds();
  c.header('Vary', 'Accept');
  if (!prefersJson(c)) return c.html(await readPage(c, options, places));
  const found = await Promise.all(places.map((one) => readEnvironment(store, one, holds)));
  return c.json({ environments: found.map((now) => environmentSummaryJson(now, runUrl)) });
}

/** The name of an environment may stand in several repositories. */
async function showEnvironment(c: OverviewContext, options: OverviewRoutesOptions) {
  const { store, places, assets, runUrl } = options;
  const name = c.req.param('name');
  const inRepository = placesNamed({ repository: c.req.query('repository') }, places);
  const named = inRepository.filter(({ place }) => environmentName(place) === name);
  const [one, ...others] = named;
  c.header('Vary', 'Accept');
  if (one === undefined) {
    const known = [...new Set(inRepository.map(({ place }) => environmentName(place)))];
    return refuse(c, assets, 404, `Environment not found. There are: ${known.join(', ')}.`);
  }
  if (!prefersJson(c)) return c.html(await readPage(c, options, named));
  if (others.length > 0) {
    const repositories = named.map(({ place }) => place.repository);
    return refuse(
      c,
      assets,
      400,
      `Several repositories have it: add ?repository= with one of ${repositories.join(', ')}.`,
    );
  }
  return c.json(environmentJson(await readEnvironment(store, one, await store.holds()), runUrl));
}

async function readPage(c: OverviewContext, options: OverviewRoutesOptions, shown: readonly ShownPlace[]) {
  const { store, places, assets, clock, commitUrl } = options;
  const scopes = new Set(shown.map(({ scope }) => scope));
  const [holds, awaiting, pushes] = await Promise.all([
    store.holds(),
    store.runs({ state: 'awaiting_approval', limit: MAX_WAITING }),
    store.runs({ kind: 'sync', limit: STRIP_LENGTH }),
  ]);
  const environments = await Promise.all(
    shown.map(async (one) => ({
      ...(await readEnvironment(store, one, holds)),
      scope: one.scope,
      usualMs: await usualDuration(store, one.scope),
    })),
  );
  const isAll = shown.length === places.length;
  return overviewPage({
    frame: { identity: c.var.identity, assets },
    environments,
    holds,
    awaiting: awaiting.filter((run) => isAll || scopes.has(run.concurrencyGroup)),
    pushes: pushes.filter((run) => isAll || scopes.has(run.concurrencyGroup)),
    failures: await readFailures(store, environments),
    now: clock(),
    commitUrl,
    namesPlace: places.length > 1,
  });
}

type Shown = Awaited<ReturnType<typeof readEnvironment>>;

/** The failures whose last runs are read. */
const MAX_FAILURES = 50;

/** What the last runs of the services that failed say, by the ids of run and service. */
async function readFailures(
  store: OverviewRoutesOptions['store'],
  environments: readonly Shown[],
): Promise<ReadonlyMap<string, Failure>> {
  const failed = environments
    .flatMap(({ standing }) => standing.services.filter(({ state }) => state === 'failed'))
    .slice(0, MAX_FAILURES);
  const found = await Promise.all(
    failed.map(async ({ service, lastRunId }) => {
      const run = lastRunId === null ? null : await store.run(lastRunId);
      if (run === null) return [];
      const failure = { run, line: await errorLine(store, run.id, service) };
      return [[failureKey(run.id, service), failure] as const];
    }),
  );
  return new Map(found.flat());
}

function openChanges(c: OverviewContext, { store }: OverviewRoutesOptions, streams: EventStreams) {
  return streams.open(c, null, (stream) => tellChanges(stream, store));
}
