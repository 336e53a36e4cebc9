/** Opens the store that is configured: a file in DATA_DIR, or a PostgreSQL database that several machines share. */

import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { ConfigError, describeError, StoreUnreachableError } from '../errors.ts';

import { enqueueSync } from '../runs/enqueue.ts';
import type { Fleet } from '../runs/fleet.ts';
import type { RunStore } from '../runs/run-store.ts';
import { placeInput } from '../runs/sync/place.ts';
import { shownAddress } from '../stores/postgres/connection.ts';
import { holdOwnership } from '../stores/sqlite/ownership.ts';
import { createSqliteStore } from '../stores/sqlite/sqlite-store.ts';
import { MINUTE, SECOND } from '../units.ts';
import { startDuty } from '../worker/duty.ts';
import { createOwnTools } from './deployments.ts';
import type { Lifetime } from './lifetime.ts';
import { listPlaces } from './repositories/places.ts';

export interface OpenStore {
  store: RunStore;
  /** The name of this machine, the same after a restart. It begins the owner of its leases. */
  machine: string;
  /** The name of this process in its leases. */
  owner: string;
  /** The other machines that share the store, or null if the store is ours alone. */
  fleet: Fleet | null;
}

/**
 * Opens the store and registers its release. Throws StoreUnavailableError if DATA_DIR is in use, or if the store refuses
 * access or was written by a newer version. Waits for a database that cannot be reached, until `life.ending`. A store that
 * fails for good ends the process.
 */
export async function openStore(config: Config, log: Logger, life: Lifetime): Promise<OpenStore> {
  const { dataDir, storeUrl, queueLimit, workerId } = config;
  if (storeUrl === null) {
    const store = await createSqliteStore({ directory: dataDir, queueLimit, onFailure: life.fail });
    life.onEnd('store', store.close);
    const machine = workerId ?? hostname();
    return { store, machine, owner: `${machine}:${process.pid}`, fleet: null };
  }
  // The mirror, the checkout and the folders of deployments still belong to this machine alone.
  const ownership = holdOwnership(dataDir);
  life.onEnd('ownership of DATA_DIR', () => ownership.close());
  const { createPostgresStore } = await import('../stores/postgres/postgres-store.ts');
  const store = await onceReachable(
    () =>
      createPostgresStore({
        url: storeUrl,
        queueLimit,
        tools: createOwnTools(config),
        onWarning: (problem) => log.warn({ problem }, 'the store may lose what was accepted'),
      }),
    life.ending,
    log,
  );
  life.onEnd('store', store.close);
  log.info({ store: shownAddress(storeUrl) }, 'store in PostgreSQL');
  const id = machineId(dataDir);
  const machine = workerId ?? `${hostname()}-${id}`;
  const { fleet } = store;
  const giveNameBack = await onceReachable(() => takeName(fleet, machine, id, log), life.ending, log);
  life.onEnd('name of the machine', giveNameBack);
  return { store, machine, owner: `${machine}:${process.pid}`, fleet };
}

const RETRY_MS = SECOND;

/**
 * Does the work, again and again while the database cannot be reached. A database that is being started, or that the
 * network does not lead to yet, is no reason to end. The work must be safe to repeat.
 */
export async function onceReachable<T>(work: () => Promise<T>, ending: AbortSignal, log: Logger): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof StoreUnreachableError) || ending.aborted) throw error;
      if (tries === 0) log.warn({ problem: describeError(error) }, 'waiting for the database');
    }
    await sleep(RETRY_MS, undefined, { signal: ending }).catch(() => undefined);
  }
}

/** Returns an id that is made once for a data directory. It distinguishes machines whose hosts have the same name. */
function machineId(dataDir: string): string {
  const file = path.join(dataDir, 'machine-id');
  if (!existsSync(file)) writeFileSync(file, randomBytes(4).toString('hex'), { mode: 0o600 });
  return readFileSync(file, 'utf8').trim();
}

const NAME_LEASE_MS = MINUTE;
const NAME_RENEWAL_MS = 10 * SECOND;

/**
 * Takes the name of this machine, because two machines of one name would take back each other's runs. Resolves to its
 * release.
 */
async function takeName(
  fleet: Fleet,
  machine: string,
  id: string,
  log: Logger,
): Promise<() => Promise<void>> {
  const name = `machine:${machine}`;
  if (!(await fleet.takeDuty(name, id, NAME_LEASE_MS))) {
    throw new ConfigError(`Another machine that shares this store has the name ${machine}.`, {
      nextAction:
        'Give each a WORKER_ID of its own; one whose DATA_DIR is new can have its old name after a minute.',
    });
  }
  const timer = setInterval(() => {
    fleet.takeDuty(name, id, NAME_LEASE_MS).then(
      (isOurs) =>
        isOurs || log.error({ machine }, 'another machine has the name of this one; stop one of them'),
      (err: unknown) => log.debug({ err }, 'the name of this machine could not be renewed'),
    );
  }, NAME_RENEWAL_MS);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await fleet.leaveDuty(name, id).catch(() => undefined);
  };
}

/**
 * Syncs every service again if the store contains other data than before. A database that was emptied or restored knows
 * neither what was accepted nor what was synced, so this is the only way to a state that is certainly right.
 */
export async function repairLoss(config: Config, { store, fleet }: OpenStore, log: Logger): Promise<void> {
  if (fleet === null) return;
  const file = path.join(config.dataDir, 'store-identity');
  const identity = await fleet.identity();
  const known = existsSync(file) ? readFileSync(file, 'utf8').trim() : null;
  if (known === identity) return;
  if (known !== null) {
    log.error(
      'the store is another one than before: its runs, logs and ledger are lost, so every service is synced again',
    );
    for (const { place, scope, promotion } of listPlaces(config)) {
      // Nobody knows any more which commit was promoted.
      if (promotion !== null) continue;
      await enqueueSync(store, {
        trigger: { source: 'reconcile' },
        input: { ...placeInput(place), selection: { mode: 'all' } },
        // Only one run is made, for any number of machines that notice this.
        dedupeKey: `loss:${identity}:${scope}`,
      });
    }
  }
  writeFileSync(file, identity, { mode: 0o600 });
}

/** Starts what only one process may do: at once if the store is ours alone, else whenever this machine has the duty. */
export async function onlyOne(
  { fleet, owner }: OpenStore,
  duty: string,
  log: Logger,
  start: () => Promise<(() => Promise<void> | void)[]>,
): Promise<() => Promise<void>> {
  async function startAll(): Promise<() => Promise<void>> {
    const ends = await start();
    return () => endAll(ends);
  }
  return fleet === null ? startAll() : startDuty({ fleet, duty, owner, start: startAll, log }).stop;
}

/** Ends all parts at the same time. A part that fails does not keep the others from ending. */
async function endAll(ends: readonly (() => Promise<void> | void)[]): Promise<void> {
  const results = await Promise.allSettled(ends.map(async (end) => end()));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}
