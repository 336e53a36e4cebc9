/** The routes of services: the state of each as a page and as JSON. They read the store, never a worker. */

import { type Context, Hono } from 'hono';
import type { OutsideHash } from '../../runs/config-hashes.ts';
import type { LedgerEntry, RunStore } from '../../runs/run-store.ts';
import type { Access } from '../access/access.ts';
import { createGuards, type RunPageEnv } from '../access/guards.ts';
import type { Assets } from '../frame/assets.ts';
import { rfc3339 } from '../frame/format.ts';
import { pageHeaders, prefersJson } from '../frame/page-headers.ts';
import { type OutsideState, type ServiceState, serviceListPage } from './service-list-page.ts';

export interface ServiceRoutesOptions {
  store: Pick<RunStore, 'run' | 'ledger' | 'outsideHashes'>;
  /** Whose ledger is shown. */
  scope: string;
  /** Ids of the services at the branch head as last fetched; none before the first fetch. */
  known(): Promise<readonly string[]>;
  /** True when config hashes also stand in Dokploy. */
  hasOutside: boolean;
  access: Access;
  assets: Assets;
  clock: () => number;
  commitUrl: (sha: string) => string | null;
  runUrl: (runId: string) => string;
  publicUrl: string | null;
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

/** What was left by a sync that did not succeed says nothing. */
function outsideOf({ found, drifted, owed, problem, since }: OutsideHash, entry: LedgerEntry): OutsideState {
  return { found, drifted: drifted && entry.outcome === 'succeeded', owed, problem, since };
}

function serviceJson({ service, entry, pin, outside }: ServiceState, runUrl: (runId: string) => string) {
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
