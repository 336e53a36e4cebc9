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
import { syncGroup } from '../runs/kinds/sync.ts';
import type { RunStore } from '../runs/run-store.ts';
import { shownAddress } from '../stores/postgres/connection.ts';
import { holdOwnership } from '../stores/sqlite/ownership.ts';
import { createSqliteStore } from '../stores/sqlite/sqlite-store.ts';
import { MINUTE, SECOND } from '../units.ts';
import { startRole } from '../worker/role.ts';
import { createOwnTools } from './deployments.ts';
import type { Lifetime } from './lifetime.ts';

export interface OpenStore {
  store: RunStore;
  /** This machine, the same after a restart; the leases of its runs are in this name. */
  machine: string;
  /** This process: its leases are in this name. */
  owner: string;
  /** The others that share the store, or null: it is ours alone. */
  fleet: Fleet | null;
  release(): Promise<void>;
}

/**
 * Throws StoreUnavailableError: DATA_DIR in use, or the store refused, or written by a newer version. Waits for a
 * database that cannot be reached, until `life.ending`. An open store that has failed for good ends the process.
 */
export async function openStore(config: Config, log: Logger, life: Lifetime): Promise<OpenStore> {
  const { dataDir, storeUrl, queueLimit } = config;
  if (storeUrl === null) {
    const store = await createSqliteStore({ directory: dataDir, queueLimit, onFailure: life.fail });
    const machine = config.workerId ?? hostname();
    return { store, machine, owner: `${machine}:${process.pid}`, fleet: null, release: store.close };
  }
  // Mirror, checkout and folders of deployments are still this machine's own.
  const ownership = holdOwnership(dataDir);
  try {
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
    log.info({ store: shownAddress(storeUrl) }, 'store in PostgreSQL');
    const id = machineId(dataDir);
    const machine = config.workerId ?? `${hostname()}-${id}`;
    const owner = `${machine}:${process.pid}`;
    try {
      const giveNameBack = await takeName(store.fleet, machine, id, log);
      return {
        ...{ store, machine, owner, fleet: store.fleet },
        async release() {
          await giveNameBack();
          await store.close();
          ownership.close();
        },
      };
    } catch (error) {
      await store.close();
      throw error;
    }
  } catch (error) {
    ownership.close();
    throw error;
  }
}

const RETRY_MS = SECOND;

/** A database that is being started, or that the network does not lead to yet, is no reason to end. */
async function onceReachable<T>(open: () => Promise<T>, ending: AbortSignal, log: Logger): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await open();
    } catch (error) {
      if (!(error instanceof StoreUnreachableError) || ending.aborted) throw error;
      if (tries === 0) log.warn({ problem: describeError(error) }, 'waiting for the database');
    }
    await sleep(RETRY_MS, undefined, { signal: ending }).catch(() => undefined);
  }
}

/** Made once for a data directory. With the host's name it is a name, where hosts have one name or a directory was copied. */
function machineId(dataDir: string): string {
  const file = path.join(dataDir, 'machine-id');
  if (!existsSync(file)) writeFileSync(file, randomBytes(4).toString('hex'), { mode: 0o600 });
  return readFileSync(file, 'utf8').trim();
}

const NAME_LEASE_MS = MINUTE;
const NAME_RENEWAL_MS = 10 * SECOND;

/** Two machines of one name would take back each other's runs. Resolves to what gives the name back. */
async function takeName(
  fleet: Fleet,
  machine: string,
  id: string,
  log: Logger,
): Promise<() => Promise<void>> {
  const role = `machine:${machine}`;
  if (!(await fleet.hold(role, id, NAME_LEASE_MS))) {
    throw new ConfigError(`Another machine that shares this store has the name ${machine}.`, {
      nextAction:
        'Give each a WORKER_ID of its own; one whose DATA_DIR is new can have its old name after a minute.',
    });
  }
  const timer = setInterval(() => {
    fleet.hold(role, id, NAME_LEASE_MS).then(
      (isOurs) =>
        isOurs || log.error({ machine }, 'another machine has the name of this one; stop one of them'),
      (err: unknown) => log.debug({ err }, 'the name of this machine could not be renewed'),
    );
  }, NAME_RENEWAL_MS);
  timer.unref();
  return async () => {
    clearInterval(timer);
    await fleet.release(role, id).catch(() => undefined);
  };
}

/**
 * Looks whether the data is still that of before. A database that was emptied or restored knows neither what was accepted nor
 * what was synced: then every service is synced once more, as that is the only state that is surely right.
 */
export async function mendLoss(
  { dataDir, git: { branch } }: Config,
  { store, fleet }: OpenStore,
  log: Logger,
): Promise<void> {
  if (fleet === null) return;
  const file = path.join(dataDir, 'store-identity');
  const identity = await fleet.identity();
  const known = existsSync(file) ? readFileSync(file, 'utf8').trim() : null;
  if (known === identity) return;
  if (known !== null) {
    log.error(
      'the store is another one than before: its runs, logs and ledger are gone, so every service is synced again',
    );
    await enqueueSync(store, {
      trigger: { source: 'reconcile' },
      input: { branch, selection: { mode: 'all' } },
      // Once, however many machines notice.
      dedupeKey: `loss:${identity}:${syncGroup(branch)}`,
    });
  }
  writeFileSync(file, identity, { mode: 0o600 });
}

/** Begins at once what only one process may do when the store is ours alone; else whenever the role falls to us. */
export async function onlyOne(
  { fleet, owner }: OpenStore,
  role: string,
  log: Logger,
  begin: () => Promise<(() => Promise<void> | void)[]>,
): Promise<() => Promise<void>> {
  async function beginAll(): Promise<() => Promise<void>> {
    const ends = await begin();
    return () => endAll(ends);
  }
  return fleet === null ? beginAll() : startRole({ fleet, role, owner, start: beginAll, log }).stop;
}

/** All together: each stops at once, and one that fails keeps none of the others from ending. */
async function endAll(ends: readonly (() => Promise<void> | void)[]): Promise<void> {
  const results = await Promise.allSettled(ends.map(async (end) => end()));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}
