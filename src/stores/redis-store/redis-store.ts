/** The store for more than one machine: everything in one Redis, written by scripts that check before they write. */

import { randomBytes, randomUUID } from 'node:crypto';
import type { Fleet } from '../../runs/fleet.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { readLedger, readOutsideHashes, saveBaseline, saveOutsideHashes } from './branches.ts';
import { followChanges } from './changes.ts';
import { openConnection, waitUntilReady } from './connection.ts';
import { decide, requestCancel, takeBack } from './decisions.ts';
import { readDeliveries, readDelivery, recordDelivery, recordMissed } from './deliveries.ts';
import { createCommitter } from './draft.ts';
import { enqueue } from './enqueue.ts';
import { createFleet } from './fleet.ts';
import { inspectServer } from './inspect-server.ts';
import { createKeys } from './keys.ts';
import { prune } from './prune.ts';
import * as reads from './reads.ts';
import { readReports, readUnreported, saveReport, settleRun } from './reports.ts';
import type { Room } from './room.ts';
import { requireSchema } from './schema.ts';
import { SPEND_NONCE } from './scripts.ts';
import { createWork } from './work.ts';

/** A request is answered 503 when its write takes longer. It is not made later; at most its answer was lost. */
const REQUEST_TIMEOUT_MS = 4_000;
/** At a start Redis may be starting, too. */
const CONNECT_TIMEOUT_MS = 15_000;
const KEPT_NONCES = 1_000;

export interface RedisStoreOptions {
  /** redis:// or rediss://, with user, password and number of the database. */
  url: string;
  /** Before the name of each key. Default `iac-runner:`. */
  prefix?: string;
  requestTimeoutMs?: number;
  connectTimeoutMs?: number;
  /** Queued runs at most; a request for one more is refused. Default: any number. */
  queueLimit?: number;
  /** What this machine has, each as of `toolName`: only deployments by one of them are claimed. Default: any. */
  tools?: () => Promise<readonly string[]>;
  /** Told at the start what this Redis may lose; one sentence each. */
  onWarning?: (message: string) => void;
}

/** Opens the store, or throws StoreUnavailableError: not reached, refused, or written by a newer version. */
export async function createRedisStore(options: RedisStoreOptions): Promise<RunStore & { fleet: Fleet }> {
  const { url, requestTimeoutMs: timeoutMs = REQUEST_TIMEOUT_MS } = options;
  const keys = createKeys(options.prefix ?? 'iac-runner:');
  const connection = openConnection({ url, timeoutMs });
  const listeners = new Map<string, (runId: string, mayClaim: boolean) => void>();
  const instance = randomUUID();
  const tell = (runId: string) => {
    // Whether anything can be claimed is known to Redis only.
    for (const listener of [...listeners.values()]) listener(runId, true);
  };
  const committer = createCommitter(connection, keys, instance, tell);
  const room: Room = {
    connection,
    keys,
    committer,
    queueLimit: options.queueLimit ?? Number.POSITIVE_INFINITY,
  };
  let changes: { stop(): void };
  try {
    await waitUntilReady(connection, options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS);
    for (const warning of await inspectServer(connection, url)) options.onWarning?.(warning);
    await requireSchema(connection, keys, url);
    changes = await followChanges(connection, keys, instance, tell);
  } catch (error) {
    await connection.close();
    throw error;
  }
  const tools = options.tools ?? (async () => null);
  const work = createWork(room, tools);
  return {
    ...work,
    fleet: createFleet(connection, keys, tools),
    enqueue: (request, beside) => enqueue(room, request, beside),
    requestCancel: (runId, by) => requestCancel(room, runId, by),
    decide: (runId, decision, by) => decide(room, runId, decision, by),
    takeBack: (taking) => takeBack(room, taking),

    recordDelivery: (delivery) => recordDelivery(room, delivery),
    recordMissed: (missed) => recordMissed(room, missed),
    deliveries: (filter) => readDeliveries(room, filter),
    delivery: (number) => readDelivery(room, number),

    run: (id) => reads.readRun(room, id),
    runs: (filter) => reads.readFilteredRuns(room, filter),
    active: (group) => reads.readActive(room, group),
    steps: (runId) => reads.readSteps(room, runId),
    events: (runId, page) => reads.readEvents(room, runId, page),
    latestEvent: async (runId, type) => (await reads.readLatestEvent(room, runId, type)) as never,
    eventsOf: async (runId, type) => (await reads.readEventsOf(room, runId, type)) as never,
    processes: (runId) => reads.readProcesses(room, runId),
    tally: () => reads.readTally(room),
    async sealed(runId) {
      const text = await connection.call('GET', keys.sealed(runId));
      return typeof text === 'string' ? text : null;
    },
    keptPlan: (runId) => reads.readKeptPlan(room, runId),

    ledger: (scope) => readLedger(room, scope),
    saveBaseline: (scope, commit) => saveBaseline(room, scope, commit),
    outsideHashes: (scope) => readOutsideHashes(room, scope),
    saveOutsideHashes: (scope, hashes) => saveOutsideHashes(room, scope, hashes),

    unreported: (reporter, limit) => readUnreported(room, reporter, limit),
    reports: (reporter, runId) => readReports(room, reporter, runId),
    saveReport: (report) => saveReport(room, report),
    settleRun: (reporter, runId) => settleRun(room, reporter, runId),
    prune: (pruning) => prune(room, pruning),

    async spendNonce(nonce, expiresAt) {
      const values = [keys.nonces, nonce, expiresAt, Date.now(), KEPT_NONCES];
      return (await connection.evaluate(SPEND_NONCE, values)) === 1;
    },
    isNonceSpent: async (nonce) => (await connection.call('ZSCORE', keys.nonces, nonce)) !== null,
    async key(name) {
      await connection.call('HSETNX', keys.keys, name, randomBytes(32).toString('hex'));
      return Buffer.from(String(await connection.call('HGET', keys.keys, name)), 'hex');
    },
    async check() {
      await connection.call('INCR', keys.checks);
    },
    // It comes back by itself.
    isAlive: () => true,
    watch(listener) {
      const id = randomUUID();
      listeners.set(id, listener);
      return () => void listeners.delete(id);
    },
    async close() {
      listeners.clear();
      changes.stop();
      await connection.close();
    },
  };
}
