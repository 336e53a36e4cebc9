/** The route of services: the state of each as a page and as JSON. It reads the store, never a worker. */

import { type Context, Hono } from 'hono';
import type { OutsideHash } from '../../runs/config-hashes.ts';
import type { LedgerEntry, RunStore } from '../../runs/run-store.ts';
import { type Hold, holdsAt, holdsOf } from '../../runs/sync/hold.ts';
import { describeScope, type Place } from '../../runs/sync/place.ts';
import { environmentName, placesNamed } from '../../triggers/place.ts';
import type { RollbackApi } from '../../triggers/sync/rollback-api.ts';
import { hasRole, type RunPageEnv } from '../access/access.ts';
import { callerOf, createGuards, type PageOptions } from '../access/guards.ts';
import { rfc3339 } from '../frame/format.ts';
import { pageHeaders, prefersJson } from '../frame/page-headers.ts';
import { limitedBody, readJson } from '../frame/read-body.ts';
import { holdJson } from '../holds/hold-list.ts';
import { type ServiceState, serviceListPage } from './service-list-page.ts';

/** A place whose services are shown. */
interface ServicePlace {
  place: Place;
  /** The group of runs whose ledger is shown. */
  scope: string;
  /** The ids of the services at the last fetched branch head. Empty before the first fetch. Never rejects. */
  known(): Promise<readonly string[]>;
}

export interface ServiceRoutesOptions extends PageOptions {
  store: Pick<RunStore, 'run' | 'active' | 'ledger' | 'outsideHashes' | 'holds' | 'scopes'>;
  places: readonly ServicePlace[];
  /** True when config hashes also stand in Dokploy. */
  hasOutside: boolean;
  rollBack: RollbackApi;
}

export function createServiceRoutes(options: ServiceRoutesOptions): Hono<RunPageEnv> {
  const { signedIn, operator } = createGuards(options);
  const routes = new Hono<RunPageEnv>();
  routes.use('/services/*', pageHeaders());
  routes.get('/services', signedIn, (c) => listServices(c, options));
  routes.post('/services/:id{.+}/rollback', operator, limitedBody(), (c) => rollBack(c, options));
  return routes;
}

/** The id of a service has slashes, which the address may also have in encoded form. */
async function rollBack(c: Context<RunPageEnv>, { rollBack: take, runUrl }: ServiceRoutesOptions) {
  const identity = callerOf(c);
  const service = c.req.param('id') ?? '';
  const caller = { name: identity.name, mayOverride: hasRole(identity, 'admin') };
  const { id } = await take(service, await readJson(c), caller);
  return c.json({ status: 'accepted', services: [service], run_id: id, url: runUrl(id) });
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
  { scope, known }: ServicePlace,
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
