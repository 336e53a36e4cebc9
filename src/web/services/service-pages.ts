/** The route of services: the state of each as a page and as JSON. It reads the store, never a worker. */

import { type Context, Hono } from 'hono';
import type { OutsideHash } from '../../runs/config-hashes.ts';
import type { LedgerEntry, RunStore } from '../../runs/run-store.ts';
import type { RunPageEnv } from '../access/access.ts';
import { createGuards, type PageOptions } from '../access/guards.ts';
import { rfc3339 } from '../frame/format.ts';
import { pageHeaders, prefersJson } from '../frame/page-headers.ts';
import { type ServiceState, serviceListPage } from './service-list-page.ts';

export interface ServiceRoutesOptions extends PageOptions {
  store: Pick<RunStore, 'run' | 'ledger' | 'outsideHashes'>;
  /** The group of runs whose ledger is shown. */
  scope: string;
  /** The ids of the services at the last fetched branch head. Empty before the first fetch. */
  known(): Promise<readonly string[]>;
  /** True when config hashes also stand in Dokploy. */
  hasOutside: boolean;
}

export function createServiceRoutes(options: ServiceRoutesOptions): Hono<RunPageEnv> {
  const { signedIn } = createGuards(options);
  const routes = new Hono<RunPageEnv>();
  routes.use('/services', pageHeaders());
  routes.get('/services', signedIn, (c) => listServices(c, options));
  return routes;
}

async function listServices(c: Context<RunPageEnv>, options: ServiceRoutesOptions) {
  const { assets, clock, commitUrl, runUrl } = options;
  const services = await statesOf(options);
  c.header('Vary', 'Accept');
  if (prefersJson(c)) return c.json({ services: services.map((state) => serviceJson(state, runUrl)) });
  const frame = { identity: c.var.identity, assets };
  return c.html(serviceListPage({ frame, services, now: clock(), commitUrl }));
}

/** Every service that the ledger or the branch knows, sorted by id. */
async function statesOf({ store, scope, known, hasOutside }: ServiceRoutesOptions): Promise<ServiceState[]> {
  const { entries, pins } = await store.ledger(scope);
  const outside = hasOutside ? await store.outsideHashes(scope) : null;
  const ids = new Set([...entries.keys(), ...(await known())]);
  return [...ids].sort().map((service) => {
    const entry = entries.get(service) ?? null;
    const hash = outside?.get(service);
    return {
      service,
      entry,
      pin: pins.get(service) ?? null,
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

function serviceJson({ service, entry, pin, outside }: ServiceState, runUrl: ServiceRoutesOptions['runUrl']) {
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
    drifted: outside?.drifted ?? false,
    dokploy: outside && {
      config_hash: outside.found,
      since: rfc3339(outside.since || null),
      to_be_written: outside.owed,
      problem: outside.problem,
    },
  };
}
