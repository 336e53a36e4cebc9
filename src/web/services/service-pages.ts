/** The routes of services: the list and each one as a page and as JSON, and the way back. They read, never work. */

import { type Context, Hono } from 'hono';
import type { OutsideHash } from '../../runs/config-hashes.ts';
import type { LedgerEntry, RunStore } from '../../runs/run-store.ts';
import { type Hold, holdsAt, holdsOf } from '../../runs/sync/hold.ts';
import { describeScope, type Place } from '../../runs/sync/place.ts';
import { environmentName, placesNamed } from '../../triggers/place.ts';
import type { RunPageEnv } from '../access/access.ts';
import { createGuards, type PageOptions } from '../access/guards.ts';
import { refuse } from '../doors/refusals.ts';
import { rfc3339 } from '../frame/format.ts';
import { pageHeaders, prefersJson } from '../frame/page-headers.ts';
import { limitedBody } from '../frame/read-body.ts';
import { holdJson } from '../holds/hold-list.ts';
import { readEnvironment, type ShownPlace } from './place-reader.ts';
import { placeOf, rollBack, type ServiceActionsOptions, sync, unpin } from './service-actions.ts';
import { type ServiceState, serviceListPage } from './service-list-page.ts';
import { servicePage } from './service-page.ts';
import { pastRunJson, standingJson } from './standing-json.ts';

export interface ServiceRoutesOptions extends PageOptions, ServiceActionsOptions {
  store: Pick<
    RunStore,
    'run' | 'active' | 'ledger' | 'outsideHashes' | 'holds' | 'scopes' | 'serviceHistory'
  >;
  places: readonly ShownPlace[];
  /** True when config hashes also stand in Dokploy. */
  hasOutside: boolean;
}

/** The runs that the page of a service shows. */
const HISTORY_LENGTH = 20;

export function createServiceRoutes(options: ServiceRoutesOptions): Hono<RunPageEnv> {
  const { signedIn, operator } = createGuards(options);
  const routes = new Hono<RunPageEnv>();
  routes.use('/services/*', pageHeaders());
  routes.get('/services', signedIn, (c) => listServices(c, options));
  routes.get('/services/:id{.+}', signedIn, (c) => showService(c, options));
  routes.post('/services/:id{.+}/rollback', operator, limitedBody(), (c) => rollBack(c, options));
  routes.post('/services/:id{.+}/unpin', operator, limitedBody(), (c) => unpin(c, options));
  routes.use('/sync', pageHeaders());
  routes.post('/sync', operator, limitedBody(), (c) => sync(c, options));
  return routes;
}

async function showService(c: Context<RunPageEnv>, options: ServiceRoutesOptions) {
  const { store, places, assets, clock, commitUrl, runUrl } = options;
  const id = c.req.param('id') ?? '';
  const holds = await store.holds();
  const asked = placesNamed(placeOf(c), places);
  const views = await Promise.all(asked.map((one) => readEnvironment(store, one, holds)));
  const found = views.flatMap((now, n) => {
    const service = now.standing.services.find((one) => one.service === id);
    const open = asked[n];
    return service && open ? [{ now, service, scope: open.scope }] : [];
  });
  const [first, ...others] = found;
  c.header('Vary', 'Accept');
  if (first === undefined) return refuse(c, assets, 404, 'Service not found.');
  const environments = found.map(({ now }) => placeJson(now.place));
  const { now, service, scope } = first;
  const history = await store.serviceHistory(scope, id, HISTORY_LENGTH);
  if (prefersJson(c)) {
    return c.json({
      ...standingJson(service, now, runUrl),
      ...placeJson(now.place),
      head: now.standing.head?.commit ?? null,
      needs: service.needs,
      needed_by: service.neededBy,
      pins: service.pin === null ? [] : [service.pin],
      history: history.map((past) => pastRunJson(past, runUrl)),
      ...(others.length > 0 && { environments }),
    });
  }
  const frame = { identity: c.var.identity, assets };
  const namesPlace = places.length > 1;
  return c.html(servicePage({ frame, now, service, history, at: clock(), commitUrl, namesPlace }));
}

async function listServices(c: Context<RunPageEnv>, options: ServiceRoutesOptions) {
  const { assets, clock, commitUrl, runUrl } = options;
  const holds = await options.store.holds();
  const named = { environment: c.req.query('environment'), repository: c.req.query('repository') };
  const environments = await Promise.all(
    placesNamed(named, options.places).map(async (one) => ({
      ...one.place,
      services: await statesOf(options, one, holdsAt(one.place, holds)),
    })),
  );
  c.header('Vary', 'Accept');
  if (prefersJson(c)) {
    const services = environments.flatMap((one) =>
      one.services.map((state) => ({ ...serviceJson(state, runUrl), ...placeJson(one) })),
    );
    return c.json({ services });
  }
  const frame = { identity: c.var.identity, assets };
  const gone = await scopesWithoutPlace(options);
  return c.html(serviceListPage({ frame, environments, gone, holds, now: clock(), commitUrl }));
}

/** What was deployed, and is not configured any more. */
async function scopesWithoutPlace({ store, places }: ServiceRoutesOptions): Promise<string[]> {
  const known = new Set(places.map(({ scope }) => scope));
  return (await store.scopes()).filter((scope) => !known.has(scope)).map(describeScope);
}

/** Every service that the ledger or the branch knows, sorted by id. */
async function statesOf(
  { store, hasOutside }: ServiceRoutesOptions,
  { scope, known }: ShownPlace,
  holds: readonly Hold[],
): Promise<ServiceState[]> {
  const { entries, pins } = await store.ledger(scope);
  const outside = hasOutside ? await store.outsideHashes(scope) : null;
  const ids = new Set([...entries.keys(), ...(await known())]);
  const working = new Set((await store.active(scope)).map(({ id }) => id));
  return [...ids].sort().map((service) => {
    const entry = entries.get(service) ?? null;
    const hash = outside?.get(service);
    return {
      service,
      entry,
      pin: pins.get(service) ?? null,
      hold: holdsOf(service, holds)[0] ?? null,
      isSyncing: entry?.outcome === 'started' && working.has(entry.attemptedRunId),
      outside: hash && entry ? outsideOf(hash, entry) : null,
    };
  });
}

/** After a sync that did not succeed, a difference in Dokploy means nothing. */
function outsideOf(
  { found, drifted, owed, problem, since }: OutsideHash,
  { outcome }: LedgerEntry,
): ServiceState['outside'] {
  return { found, drifted: drifted && outcome === 'succeeded', owed, problem, since };
}

function placeJson(place: Pick<Place, 'environment' | 'repository'>) {
  return { environment: environmentName(place), repository: place.repository };
}

function serviceJson(
  { service, entry, pin, hold, outside }: ServiceState,
  runUrl: ServiceRoutesOptions['runUrl'],
) {
  const synced = entry?.synced;
  return {
    service,
    folder: entry?.folder ?? null,
    outcome: entry?.outcome ?? 'never_synced',
    synced: synced
      ? {
          commit: synced.commit,
          at: rfc3339(synced.at),
          config_hash: synced.configHash,
          run_id: synced.runId,
          url: runUrl(synced.runId),
        }
      : null,
    attempted: entry
      ? {
          commit: entry.attemptedCommit,
          at: rfc3339(entry.attemptedAt || null),
          run_id: entry.attemptedRunId,
          url: runUrl(entry.attemptedRunId),
        }
      : null,
    attempts: entry?.attempts ?? 0,
    pinned_to: pin,
    hold: hold && holdJson(hold),
    drifted: outside?.drifted ?? false,
    dokploy: outside && {
      config_hash: outside.found,
      since: rfc3339(outside.since || null),
      to_be_written: outside.owed,
      problem: outside.problem,
    },
  };
}
