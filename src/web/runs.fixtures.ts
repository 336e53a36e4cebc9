/**
 * Runs in a real store, with times and ids that tests choose. It uses the store's tables, writes and reads, but not
 * its thread.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll } from 'vitest';
import type { DeployInput } from '../runs/deployments/deployment.ts';
import { deployGroup } from '../runs/kinds/deploy.ts';
import { planGroup } from '../runs/kinds/plan.ts';
import type { PlanInput } from '../runs/plan-comment.ts';
import type { Report } from '../runs/report.ts';
import type { CommandRun, DeployRun, PlanRun, PreviewRun, Run, SyncRun } from '../runs/run.ts';
import type { RunEventBody } from '../runs/run-events.ts';
import type { RunStore } from '../runs/run-store.ts';
import { scopeOfInput } from '../runs/sync/place.ts';
import { appendEvents } from '../stores/sql/append-events.ts';
import type { Database, Transaction } from '../stores/sql/database.ts';
import { readHolds } from '../stores/sql/holds.ts';
import { readLogChunks, readLogTotals } from '../stores/sql/log-chunks.ts';
import { readRuns } from '../stores/sql/reads/runs.ts';
import * as reads from '../stores/sql/reads.ts';
import { finishAction, recordAction } from '../stores/sql/writes/audit.ts';
import { saveReport } from '../stores/sql/writes/beside-runs.ts';
import { enqueue } from '../stores/sql/writes/enqueue.ts';
import { endSession, saveSession } from '../stores/sql/writes/sessions.ts';
import { findRun } from '../stores/sql/writes/stored-runs.ts';
import { openForWriting } from '../stores/sqlite/database.ts';
import type { RunReader } from './runs/run-pages.ts';

export const START_AT = Date.parse('2026-03-01T12:00:00.000Z');

type Overrides<R extends Run> = Partial<R> & Pick<R, 'kind' | 'input'>;

export interface TestRuns
  extends RunReader,
    Pick<
      RunStore,
      | 'saveSession'
      | 'session'
      | 'sessions'
      | 'endSession'
      | 'tally'
      | 'holds'
      | 'active'
      | 'recordAction'
      | 'finishAction'
      | 'actions'
    > {
  /** Runs one of the store's own writes; each write and read waits for those before it. */
  write(perform: (transaction: Transaction) => Promise<unknown>): void;
  read<T>(query: (database: Database) => Promise<T>): Promise<T>;
  add(id: string, overrides?: Partial<SyncRun>): SyncRun;
  addOther(id: string, overrides: Overrides<PreviewRun> | Overrides<CommandRun>): void;
  addDeploy(id: string, input?: Partial<DeployInput>, overrides?: Partial<DeployRun>): void;
  addPlan(id: string, input?: Partial<PlanInput>, overrides?: Partial<PlanRun>): void;
  /** Each event is a second later than the one before. */
  append(id: string, ...bodies: RunEventBody[]): void;
  report(report: Report): void;
  /** How many events were read at most at once. */
  largestRead(): number;
}

const opened: (() => Promise<void>)[] = [];
afterAll(async () => {
  for (const close of opened.splice(0)) await close();
});

export function createTestRuns(): TestRuns {
  const database = openDatabase(() => turn);
  const listeners = new Set<(runId: string, mayClaim: boolean) => void>();
  let largest = 0;
  let turn: Promise<unknown> = Promise.resolve();
  function write(perform: (transaction: Transaction) => Promise<unknown>): void {
    turn = turn.then(() => perform(database));
  }
  async function read<T>(query: (database: Database) => Promise<T>): Promise<T> {
    await turn;
    return query(database);
  }
  const notifyAll = async (id: string) => {
    for (const listener of listeners) listener(id, true);
  };
  const eventsOf: RunStore['eventsOf'] = async (runId, type) =>
    (await read((found) => reads.readEventsOf(found, runId, type))) as never;
  const latestEvent: RunStore['latestEvent'] = async (runId, type) =>
    (await read((found) => reads.readLatestEvent(found, runId, type))) as never;

  function append(id: string, ...bodies: RunEventBody[]): void {
    for (const body of bodies) write((transaction) => appendLater(transaction, id, body));
    write(() => notifyAll(id));
  }

  function put(run: Run): void {
    write((transaction) => putRun(transaction, run));
    write(() => notifyAll(run.id));
  }

  return {
    write,
    read,
    add(id, overrides = {}) {
      const run = { ...newRun(id), ...overrides };
      put(run);
      return run;
    },
    addOther: (id, overrides) => put({ ...newRun(id), ...overrides }),
    addDeploy(id, input, overrides) {
      const whole = { ...DEPLOY_INPUT, ...input };
      const concurrencyGroup = deployGroup(whole.gitUrl, whole.path);
      const trigger = { source: 'deploy_api', actor: 'oscar', deliveryId: null, retryOf: null } as const;
      put({ ...newRun(id), kind: 'deploy', input: whole, concurrencyGroup, trigger, ...overrides });
    },
    addPlan(id, input, overrides) {
      const whole = { ...PLAN_INPUT, ...input };
      const trigger = { source: 'pubsub', actor: null, deliveryId: 'm-1', retryOf: null } as const;
      put({
        ...newRun(id),
        kind: 'plan',
        input: whole,
        concurrencyGroup: planGroup(whole),
        trigger,
        ...overrides,
      });
    },
    append,
    largestRead: () => largest,
    run: (id) => read((found) => reads.readRun(found, id)),
    runs: (filter) => read((found) => readRuns(found, filter)),
    steps: (id) => read((found) => reads.readSteps(found, id)),
    events: async (id, page) => {
      const found = await read((all) => reads.readEvents(all, id, page));
      largest = Math.max(largest, found.length);
      return found;
    },
    logTotals: (id) => read((found) => readLogTotals(found, id)),
    logChunks: (id, page) => read((found) => readLogChunks(found, id, page)),
    eventsOf,
    latestEvent,
    reports: (reporter, id) => read((found) => reads.readReports(found, reporter, id)),
    report: (report) => write((transaction) => saveReport(transaction, report)),
    holds: () => read(readHolds),
    active: (group) => read((found) => reads.readActive(found, group)),
    tally: () => read(reads.readTally),
    recordAction: async (entry) => {
      await turn;
      return (await recordAction(database, entry)).result;
    },
    finishAction: async (id, end) => {
      await turn;
      await finishAction(database, id, end);
    },
    actions: (page) => read((found) => reads.readActions(found, page)),
    saveSession: async (session) => {
      await turn;
      await saveSession(database, session);
    },
    session: (id) => read((found) => reads.readSession(found, id)),
    sessions: () => read(reads.readSessions),
    endSession: async (id) => {
      await turn;
      return (await endSession(database, id)).result;
    },
    watch: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

function openDatabase(lastWrite: () => Promise<unknown>): Transaction {
  const directory = mkdtempSync(path.join(tmpdir(), 'iac-pages-'));
  const database = openForWriting(path.join(directory, 'iac-runner.db'));
  // Nothing here has to outlive the test.
  database.raw.exec('PRAGMA synchronous = OFF');
  opened.push(async () => {
    await lastWrite();
    database.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return database;
}

/** A second after the event before it. */
async function appendLater(transaction: Transaction, id: string, body: RunEventBody): Promise<void> {
  const stored = await findRun(transaction, id);
  if (!stored) throw new Error(`No run ${id}.`);
  const sql = 'SELECT count(*) AS events FROM events WHERE run = ?';
  const events = Number((await transaction.get(sql, stored.number))?.events);
  await appendEvents({ ...transaction, now: async () => START_AT + events * 1_000 }, stored, [body]);
}

/** The columns of a run that a test may choose, as the store writes them. */
async function putRun(transaction: Transaction, run: Run): Promise<void> {
  const { id } = (await enqueue(transaction, run)).result.run;
  const columns = {
    id: run.id,
    state: run.state,
    reason: run.reason,
    message: run.message,
    revision: run.revision,
    subject: run.subject,
    attempt: run.attempt,
    cancel_requested_by: run.cancelRequestedBy,
    covered_by: run.coveredBy,
    chosen: run.chosen,
    not_before: run.notBefore,
    approval_expires_at: run.approvalExpiresAt,
    created_at: run.createdAt,
    started_at: run.startedAt,
    finished_at: run.finishedAt,
  };
  const names = Object.keys(columns);
  await transaction.run(
    `UPDATE runs SET ${names.map((name) => `${name} = ?`).join(', ')} WHERE id = ?`,
    ...Object.values(columns),
    id,
  );
  await transaction.run(
    'UPDATE events SET at = ? WHERE run = (SELECT number FROM runs WHERE id = ?)',
    START_AT,
    run.id,
  );
}

const DEPLOY_INPUT: DeployInput = {
  operation: 'apply',
  tool: 'terraform',
  toolVersion: '1.11.4',
  gitUrl: 'https://github.com/acme/infra.git',
  gitRef: 'main',
  path: 'stacks/network',
  tfvarsFiles: [],
  timeoutMs: 3_600_000,
  autoApprove: false,
  callbackUrl: null,
};

const PLAN_INPUT: PlanInput = {
  repository: 'acme/infra',
  pullRequest: 7,
  revision: '1234567890abcdef1234567890abcdef12345678',
  headRef: 'new-subnets',
  baseRef: 'main',
  cloneUrl: 'https://github.com/acme/infra.git',
  apiUrl: 'https://api.github.com',
  planId: 'pr',
  roots: [{ directory: 'stacks/network', tool: 'tofu', toolVersion: null }],
  fromFork: false,
  credential: 'sealed',
  requestId: null,
};

function newRun(id: string): SyncRun {
  return {
    kind: 'sync',
    trigger: { source: 'webhook', actor: 'octocat', deliveryId: 'd-1', retryOf: null },
    input: {
      branch: 'main',
      revision: '1234567890abcdef1234567890abcdef12345678',
      before: null,
      selection: { mode: 'changed' },
      force: false,
      dryRun: false,
      postponed: [],
      unpin: false,
      announced: [],
    },
    concurrencyGroup: scopeOfInput({ branch: 'main' }),
    coalesce: true,
    dedupeKey: null,
    id,
    state: 'queued',
    reason: null,
    message: 'Waiting for previous sync to complete',
    revision: null,
    subject: null,
    handBacks: 0,
    attempt: 0,
    cancelRequestedBy: null,
    coveredBy: null,
    chosen: 0,
    notBefore: 0,
    priority: 0,
    labels: [],
    approvalExpiresAt: null,
    createdAt: START_AT,
    startedAt: null,
    finishedAt: null,
  };
}
