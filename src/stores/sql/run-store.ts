/** Implements the port RunStore on top of a driver, which reads and writes one kind of database. */

import type { Fleet } from '../../runs/fleet.ts';
import type { RunStore } from '../../runs/run-store.ts';
import type { Database } from './database.ts';
import { readOldestWaiting, readWorkers } from './fleet.ts';
import { readHolds } from './holds.ts';
import { readLedger, readOutsideHashes, readScopes, readServiceHistory } from './ledger.ts';
import { readLogChunks, readLogTotals } from './log-chunks.ts';
import { readRuns } from './reads/runs.ts';
import * as reads from './reads.ts';
import type { WRITES, WriteName } from './writes.ts';

/** A request whose commit has not started after this time is answered 503, and never stored. */
const REQUEST_TIMEOUT_MS = 4_000;

export type WriteResult<Name extends WriteName> = Awaited<ReturnType<(typeof WRITES)[Name]>>['result'];

export interface Driver {
  /**
   * Runs one of WRITES in a transaction, and resolves after the commit. A call that is not being committed after
   * `timeoutMs` fails and is never written. Without `timeoutMs` the call waits until the outcome is certain.
   */
  write<Name extends WriteName>(
    name: Name,
    values: unknown[],
    timeoutMs?: number,
  ): Promise<WriteResult<Name>>;
  read<T>(query: (database: Database) => Promise<T>): Promise<T>;
  watch: RunStore['watch'];
  isAlive(): boolean;
  close(): Promise<void>;
}

/** Resolves to the tools of this machine, each named by `toolName`. Null means that it takes deployments by any tool. */
type Tools = () => Promise<readonly string[] | null>;

export interface SqlStoreOptions {
  requestTimeoutMs?: number | undefined;
  /** The highest number of queued runs. A request for one more is refused. Default: any number. */
  queueLimit?: number | undefined;
  tools?: Tools | undefined;
  /** True if other machines share the store. */
  isShared: boolean;
}

export function createSqlStore(driver: Driver, options: SqlStoreOptions): RunStore & { fleet: Fleet } {
  const tools = options.tools ?? (async () => null);
  return {
    ...requests(driver, options),
    ...workerWrites(driver, { tools, isShared: options.isShared }),
    ...readers(driver),
    fleet: fleetOf(driver, tools),
    watch: driver.watch,
    isAlive: driver.isAlive,
    close: driver.close,
  };
}

/** The caller of these writes waits for the answer, so their time is limited. */
function requests({ write }: Driver, options: SqlStoreOptions) {
  const { requestTimeoutMs: timeoutMs = REQUEST_TIMEOUT_MS, queueLimit } = options;
  return {
    enqueue: (request, beside) => write('enqueue', [request, beside, queueLimit], timeoutMs),
    recordDelivery: async (delivery) => void (await write('recordDelivery', [delivery], timeoutMs)),
    requestCancel: (runId, by) => write('requestCancel', [runId, by], timeoutMs),
    decide: (runId, decision, by) => write('decide', [runId, decision, by], timeoutMs),
    saveHold: (hold) => write('saveHold', [hold], timeoutMs),
    endHold: (id) => write('endHold', [id], timeoutMs),
    recordAction: (entry) => write('recordAction', [entry], timeoutMs),
    finishAction: async (id, end) => void (await write('finishAction', [id, end], timeoutMs)),
    saveSession: async (session) => void (await write('saveSession', [session], timeoutMs)),
    endSession: (id) => write('endSession', [id], timeoutMs),
    check: async () => void (await write('check', [], timeoutMs)),
    key: async (name) => Buffer.from(await write('key', [name], timeoutMs)),
  } satisfies Partial<RunStore>;
}

/** A worker waits for the certain outcome of these writes, because a late success must not be repeated. */
function workerWrites({ write }: Driver, { tools, isShared }: { tools: Tools; isShared: boolean }) {
  return {
    claim: async (claim) => write('claim', [claim, { tools: await tools(), isShared }]),
    renew: async (lease, leaseMs) => void (await write('renew', [lease, leaseMs])),
    append: async (...values) => void (await write('append', values)),
    takeBack: (taking) => write('takeBack', [taking]),
    saveBaseline: async (scope, commit) => void (await write('saveBaseline', [scope, commit])),
    saveOutsideHashes: async (scope, hashes) => void (await write('saveOutsideHashes', [scope, hashes])),
    saveReport: async (report) => void (await write('saveReport', [report])),
    recordMissed: (missed) => write('recordMissed', [missed]),
    prune: (pruning) => write('prune', [pruning]),
    settleRun: async (reporter, runId) => void (await write('settleRun', [reporter, runId])),
  } satisfies Partial<RunStore>;
}

function readers({ read }: Driver) {
  return {
    sealed: (runId) => read((database) => reads.readBeside(database, 'sealed', runId)),
    keptPlan: (runId) => read((database) => reads.readBeside(database, 'kept_plans', runId)),
    holds: () => read(readHolds),
    session: (id) => read((database) => reads.readSession(database, id)),
    sessions: () => read(reads.readSessions),
    actions: (page) => read((database) => reads.readActions(database, page)),
    run: (id) => read((database) => reads.readRun(database, id)),
    active: (group) => read((database) => reads.readActive(database, group)),
    processes: (runId) => read((database) => reads.readProcesses(database, runId)),
    deliveries: (filter) => read((database) => reads.readDeliveries(database, filter)),
    delivery: (number) => read((database) => reads.readDelivery(database, number)),
    runs: (filter) => read((database) => readRuns(database, filter)),
    steps: (runId) => read((database) => reads.readSteps(database, runId)),
    events: (runId, page) => read((database) => reads.readEvents(database, runId, page)),
    logTotals: (runId) => read((database) => readLogTotals(database, runId)),
    logChunks: (runId, page) => read((database) => readLogChunks(database, runId, page)),
    latestEvent: (runId, type) => read((database) => reads.readLatestEvent(database, runId, type)) as never,
    eventsOf: (runId, type) => read((database) => reads.readEventsOf(database, runId, type)) as never,
    ledger: (scope) => read((database) => readLedger(database, scope)),
    serviceHistory: (scope, service, limit) =>
      read((database) => readServiceHistory(database, scope, service, limit)),
    scopes: () => read(readScopes),
    outsideHashes: (scope) => read((database) => readOutsideHashes(database, scope)),
    tally: () => read(reads.readTally),
    unreported: (reporter, limit, after) =>
      read((database) => reads.readUnreported(database, reporter, limit, after)),
    reports: (reporter, runId) => read((database) => reads.readReports(database, reporter, runId)),
  } satisfies Partial<RunStore>;
}

function fleetOf({ read, write }: Driver, tools: Tools): Fleet {
  return {
    async beat(sign) {
      await write('beat', [{ ...sign, tools: await tools() }]);
    },
    leave: async (owner) => void (await write('leave', [owner])),
    workers: () => read(readWorkers),
    oldestWaiting: () => read(readOldestWaiting),
    takeDuty: (duty, owner, leaseMs) => write('takeDuty', [duty, owner, leaseMs]),
    leaveDuty: async (duty, owner) => void (await write('leaveDuty', [duty, owner])),
    // The key is made with the store, so it names the data.
    identity: async () => Buffer.from(await write('key', ['identity'])).toString('hex'),
  };
}
