/** Runs in a real store, at times and under ids that tests can name: its own tables, writes and reads, without its thread. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll } from 'vitest';
import { type DeployInput, deployGroup } from '../runs/deployment.ts';
import { type PlanInput, planGroup } from '../runs/plan-comment.ts';
import {
  type DeployRun,
  type PlanRun,
  type PreviewRun,
  type Run,
  type SyncRun,
  syncGroup,
} from '../runs/run.ts';
import type { RunEventBody } from '../runs/run-events.ts';
import type { Report, RunStore } from '../runs/run-store.ts';
import { appendEvents } from '../stores/sqlite-store/append-events.ts';
import { type Database, openForWriting } from '../stores/sqlite-store/database.ts';
import * as reads from '../stores/sqlite-store/reads.ts';
import { saveReport, spendNonce } from '../stores/sqlite-store/writes/beside-runs.ts';
import { enqueue } from '../stores/sqlite-store/writes/enqueue.ts';
import { findRun } from '../stores/sqlite-store/writes/stored-runs.ts';
import type { RunReader } from './run-pages.ts';

export const START_AT = Date.parse('2026-03-01T12:00:00.000Z');

type PreviewOverrides = Partial<PreviewRun> & Pick<PreviewRun, 'kind' | 'input'>;

export interface StoredRuns extends RunReader, Pick<RunStore, 'spendNonce' | 'isNonceSpent' | 'tally'> {
  /** For what only the store's own functions can write. */
  database: Database;
  add(id: string, overrides?: Partial<SyncRun>): SyncRun;
  addPreview(id: string, overrides: PreviewOverrides): void;
  addDeploy(id: string, input?: Partial<DeployInput>, overrides?: Partial<DeployRun>): void;
  addPlan(id: string, input?: Partial<PlanInput>, overrides?: Partial<PlanRun>): void;
  /** Each event is a second later than the one before. */
  append(id: string, ...bodies: RunEventBody[]): void;
  report(report: Report): void;
  /** How many events were read at most at once. */
  largestRead(): number;
}

const opened: (() => void)[] = [];
afterAll(() => {
  for (const close of opened.splice(0)) close();
});

export function createStoredRuns(): StoredRuns {
  const database = openDatabase();
  const listeners = new Set<(runId: string, mayClaim: boolean) => void>();
  let largest = 0;
  const eventsOf: RunStore['eventsOf'] = async (runId, type) =>
    reads.readEventsOf(database, runId, type) as never;
  const latestEvent: RunStore['latestEvent'] = async (runId, type) =>
    reads.readLatestEvent(database, runId, type) as never;

  function append(id: string, ...bodies: RunEventBody[]): void {
    for (const body of bodies) {
      const stored = findRun(database, id);
      if (!stored) throw new Error(`No run ${id}.`);
      const { events } =
        database.get('SELECT count(*) AS events FROM events WHERE run = ?', stored.number) ?? {};
      appendEvents(database, stored, [body], START_AT + Number(events) * 1000);
    }
    for (const listener of listeners) listener(id, true);
  }

  function put(run: Run): void {
    putRun(database, run);
    for (const listener of listeners) listener(run.id, true);
  }

  return {
    database,
    add(id, overrides = {}) {
      const run = { ...newRun(id), ...overrides };
      put(run);
      return run;
    },
    addPreview: (id, overrides) => put({ ...newRun(id), ...overrides }),
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
    run: async (id) => reads.readRun(database, id),
    runs: async (filter) => reads.readRuns(database, filter),
    steps: async (id) => reads.readSteps(database, id),
    events: async (id, page) => {
      const found = reads.readEvents(database, id, page);
      largest = Math.max(largest, found.length);
      return found;
    },
    eventsOf,
    latestEvent,
    reports: async (reporter, id) => reads.readReports(database, reporter, id),
    report: (report) => void saveReport(database, report),
    tally: async () => reads.readTally(database),
    spendNonce: async (nonce, expiresAt) => spendNonce(database, nonce, expiresAt).result,
    isNonceSpent: async (nonce) => reads.isNonceSpent(database, nonce),
    watch: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

function openDatabase(): Database {
  const directory = mkdtempSync(path.join(tmpdir(), 'iac-pages-'));
  const database = openForWriting(path.join(directory, 'iac-runner.db'));
  // Nothing here has to outlive the test.
  database.raw.exec('PRAGMA synchronous = OFF');
  opened.push(() => {
    database.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return database;
}

/** The columns of a run that a test may choose, as the store writes them. */
function putRun(database: Database, run: Run): void {
  const { id } = enqueue(database, run).result.run;
  const columns = {
    ...{ id: run.id, state: run.state, reason: run.reason, message: run.message, revision: run.revision },
    ...{ subject: run.subject, attempt: run.attempt, cancel_requested_by: run.cancelRequestedBy },
    ...{ covered_by: run.coveredBy, chosen: run.chosen, not_before: run.notBefore },
    ...{ approval_expires_at: run.approvalExpiresAt, created_at: run.createdAt },
    ...{ started_at: run.startedAt, finished_at: run.finishedAt },
  };
  const names = Object.keys(columns);
  database.run(
    `UPDATE runs SET ${names.map((name) => `${name} = ?`).join(', ')} WHERE id = ?`,
    ...Object.values(columns),
    id,
  );
  database.run(
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
    concurrencyGroup: syncGroup('main'),
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
