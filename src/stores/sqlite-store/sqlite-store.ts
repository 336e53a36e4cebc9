/** The default store: one SQLite file, written by one thread, read here. */

import { randomUUID } from 'node:crypto';
import path from 'node:path';
import type { RunStore } from '../../runs/run-store.ts';
import { openReader } from './reader.ts';
import * as reads from './reads.ts';
import { startWriter } from './writer.ts';

/** A request whose commit has not begun by then is answered 503, and never stored. */
const REQUEST_TIMEOUT_MS = 4_000;

export interface SqliteStoreOptions {
  /** Folder of the store, made with mode 0700 when missing. */
  directory: string;
  requestTimeoutMs?: number;
  /** Queued runs at most; a request for one more is refused. Default: any number. */
  queueLimit?: number;
  /** Called once when the store has failed for good: only a new start helps. */
  onFailure?: (error: Error) => void;
}

/** Opens the store, or throws StoreUnavailableError: owned by another process, unreadable, or newer. */
export async function createSqliteStore(options: SqliteStoreOptions): Promise<RunStore> {
  const { directory, requestTimeoutMs: timeoutMs = REQUEST_TIMEOUT_MS, queueLimit, onFailure } = options;
  const file = path.join(directory, 'iac-runner.db');
  const listeners = new Map<string, (runId: string, mayClaim: boolean) => void>();
  const onChange = (runId: string, mayClaim: boolean) => {
    for (const listener of listeners.values()) listener(runId, mayClaim);
  };
  const writer = await startWriter({ directory, file }, { onChange, onFailure });
  const { read, close: closeReader } = openReader(file);
  return {
    // Answered to somebody who waits: bounded in time.
    enqueue: (request, beside) => writer.call('enqueue', [request, beside, queueLimit], timeoutMs),
    recordDelivery: (delivery) => writer.call('recordDelivery', [delivery], timeoutMs),
    requestCancel: (runId, by) => writer.call('requestCancel', [runId, by], timeoutMs),
    decide: (runId, decision, by) => writer.call('decide', [runId, decision, by], timeoutMs),
    spendNonce: (nonce, expiresAt) => writer.call('spendNonce', [nonce, expiresAt], timeoutMs),
    check: async () => void (await writer.call('check', [], timeoutMs)),
    key: async (name) => Buffer.from(await writer.call<Uint8Array>('key', [name], timeoutMs)),
    // Writes of a worker wait for their certain outcome: a late success must not be repeated.
    claim: (claim) => writer.call('claim', [claim]),
    renew: (lease, leaseMs) => writer.call('renew', [lease, leaseMs]),
    append: (lease, events, followUp, keptPlan) => writer.call('append', [lease, events, followUp, keptPlan]),
    takeBack: (taking) => writer.call('takeBack', [taking]),
    saveBaseline: (scope, commit) => writer.call('saveBaseline', [scope, commit]),
    saveOutsideHashes: (scope, hashes) => writer.call('saveOutsideHashes', [scope, hashes]),
    saveReport: (report) => writer.call('saveReport', [report]),
    recordMissed: (missed) => writer.call('recordMissed', [missed]),
    prune: (options) => writer.call('prune', [options]),
    settleRun: (reporter, runId) => writer.call('settleRun', [reporter, runId]),

    isNonceSpent: async (nonce) => read((database) => reads.isNonceSpent(database, nonce)),
    sealed: async (runId) => read((database) => reads.readSealed(database, runId)),
    keptPlan: async (runId) => read((database) => reads.readKeptPlan(database, runId)),
    run: async (id) => read((database) => reads.readRun(database, id)),
    active: async (group) => read((database) => reads.readActive(database, group)),
    processes: async (runId) => read((database) => reads.readProcesses(database, runId)),
    deliveries: async (filter) => read((database) => reads.readDeliveries(database, filter)),
    delivery: async (number) => read((database) => reads.readDelivery(database, number)),
    runs: async (filter) => read((database) => reads.readRuns(database, filter)),
    steps: async (runId) => read((database) => reads.readSteps(database, runId)),
    events: async (runId, page) => read((database) => reads.readEvents(database, runId, page)),
    latestEvent: async (runId, type) =>
      read((database) => reads.readLatestEvent(database, runId, type)) as never,
    eventsOf: async (runId, type) => read((database) => reads.readEventsOf(database, runId, type)) as never,
    ledger: async (scope) => read((database) => reads.readLedger(database, scope)),
    outsideHashes: async (scope) => read((database) => reads.readOutsideHashes(database, scope)),
    tally: async () => read((database) => reads.readTally(database)),
    unreported: async (reporter, limit) =>
      read((database) => reads.readUnreported(database, reporter, limit)),
    reports: async (reporter, runId) => read((database) => reads.readReports(database, reporter, runId)),

    isAlive: writer.isAlive,
    watch(listener) {
      const id = randomUUID();
      listeners.set(id, listener);
      return () => void listeners.delete(id);
    },
    async close() {
      listeners.clear();
      await writer.close();
      closeReader();
    },
  };
}
