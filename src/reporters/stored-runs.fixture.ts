/** For tests: runs in a real SQLite store, brought to any state, and a clock that runs by itself. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PlanInput } from '../runs/plan-comment.ts';
import { REPORTERS, type Report } from '../runs/report.ts';
import {
  isFinal,
  type PlanRun,
  type PreviewInput,
  type PreviewRun,
  type Run,
  type SyncRun,
} from '../runs/run.ts';
import type { RunEventBody } from '../runs/run-events.ts';
import type { Lease, RunStore } from '../runs/run-store.ts';
import { createSqliteStore } from '../stores/sqlite/sqlite-store.ts';
import type { WakeUp } from './outbox/sending-loop.ts';

export function aRun(changes: Partial<SyncRun> = {}, input: Partial<SyncRun['input']> = {}): SyncRun {
  return {
    id: 'run-1',
    kind: 'sync',
    trigger: { source: 'webhook', actor: 'ada', deliveryId: null, retryOf: null },
    input: {
      branch: 'main',
      revision: null,
      before: null,
      selection: { mode: 'changed' },
      force: false,
      dryRun: false,
      postponed: [],
      unpin: false,
      announced: [],
      ...input,
    },
    concurrencyGroup: 'sync:main',
    coalesce: false,
    dedupeKey: null,
    state: 'queued',
    reason: null,
    message: '',
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
    createdAt: 1_000,
    startedAt: null,
    finishedAt: null,
    ...changes,
  };
}

export function aPreview(changes: Partial<PreviewRun> = {}, input: Partial<PreviewInput> = {}): PreviewRun {
  const common = aRun();
  return {
    ...common,
    kind: 'preview',
    trigger: { ...common.trigger, source: 'pull_request' },
    input: { branch: 'main', revision: 'a'.repeat(40), pullRequest: 7, ...input },
    concurrencyGroup: 'preview:7',
    ...changes,
  };
}

export function aPlan(changes: Partial<PlanRun> = {}, input: Partial<PlanInput> = {}): PlanRun {
  const common = aRun();
  return {
    ...common,
    kind: 'plan',
    trigger: { ...common.trigger, source: 'pubsub' },
    input: {
      repository: 'acme/infra',
      pullRequest: 7,
      revision: 'a'.repeat(40),
      headRef: null,
      baseRef: null,
      cloneUrl: 'https://github.com/acme/infra.git',
      apiUrl: 'https://api.github.com',
      planId: 'p1',
      roots: [{ directory: 'infra', tool: 'tofu', toolVersion: null }],
      fromFork: false,
      credential: 'sealed',
      requestId: null,
      ...input,
    },
    concurrencyGroup: 'plan:p1',
    ...changes,
  };
}

/** The state that a run has reached. `coveredBy` is the name of another run. */
type Reached = Partial<Pick<Run, 'state' | 'reason' | 'message' | 'revision' | 'chosen' | 'coveredBy'>>;

export interface StoredRuns {
  /** The real store; its reports can be made to fail. */
  store: RunStore;
  /** The directory of the store. */
  directory: string;
  /** Stores a run and brings it to its state. Its `id` is a name that only the test knows. */
  put(run: Run): Promise<void>;
  /** Brings a run to another state. Queued: its worker hands it back. */
  change(name: string, reached: Reached): Promise<void>;
  /** Adds events to a run that is being worked on. */
  tell(name: string, ...events: RunEventBody[]): Promise<void>;
  idOf(name: string): string;
  nameOf(id: string): string;
  reports(name: string): Promise<Report[]>;
  savedReports: Report[];
  /** The names of the runs whose own statuses and comments were settled, in order. */
  settledRuns: string[];
  /** While this is set, reports cannot be stored. */
  failure: Error | null;
  close(): Promise<void>;
}

export async function createStoredRuns(): Promise<StoredRuns> {
  const directory = mkdtempSync(path.join(tmpdir(), 'iac-reports-'));
  const real = await createSqliteStore({ directory });
  const ids = new Map<string, string>();
  const leases = new Map<string, Lease>();
  const idOf = (name: string): string => ids.get(name) ?? name;
  const nameOf = (id: string): string => [...ids].find(([, known]) => known === id)?.[0] ?? id;

  async function leaseOf(name: string): Promise<Lease> {
    const known = leases.get(name);
    if (known) return known;
    const run = await real.run(idOf(name));
    if (run?.state === 'awaiting_approval') await real.decide(run.id, 'approved', 'grace');
    const claim = await real.claim({ owner: 'w', leaseMs: 600_000, labels: [name] });
    if (claim?.run.id !== idOf(name)) throw new Error(`${name} cannot be started.`);
    leases.set(name, claim.lease);
    return claim.lease;
  }

  async function reach(name: string, reached: Reached): Promise<void> {
    const { state = 'queued' } = reached;
    if (state === 'queued' && !leases.has(name)) return;
    const lease = await leaseOf(name);
    if (state !== 'running') leases.delete(name);
    // Two runs never end within the same millisecond here, so their order is certain.
    await sleep(2);
    const coveredBy = reached.coveredBy ? idOf(reached.coveredBy) : null;
    await real.append(lease, eventsOf(state, { ...reached, coveredBy }));
  }

  const runs: StoredRuns = {
    store: {
      ...real,
      async saveReport(report) {
        if (runs.failure) throw runs.failure;
        await real.saveReport(report);
        runs.savedReports.push(report);
      },
      async settleRun(reporter, runId) {
        if (runs.failure) throw runs.failure;
        await real.settleRun(reporter, runId);
        if (reporter !== 'service-status' && reporter !== 'github-deployment')
          runs.settledRuns.push(nameOf(runId));
      },
    },
    directory,
    savedReports: [],
    settledRuns: [],
    failure: null,
    idOf,
    nameOf,
    async put(run) {
      const stored = await real.enqueue({ ...run, labels: [run.id] });
      ids.set(run.id, stored.run.id);
      await reach(run.id, run);
    },
    change: reach,
    tell: async (name, ...events) => real.append(await leaseOf(name), events),
    async reports(name) {
      return (await Promise.all(REPORTERS.map((reporter) => real.reports(reporter, idOf(name))))).flat();
    },
    async close() {
      await real.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
  return runs;
}

function eventsOf(state: Run['state'], reached: Reached): RunEventBody[] {
  const { message = '', chosen = 0, revision = null, reason = null, coveredBy = null } = reached;
  if (state === 'queued') return [{ type: 'run.requeued', message, countAttempt: false, notBefore: 0 }];
  return [
    ...(revision === null ? [] : [{ type: 'run.revision' as const, revision, subject: 'Add a' }]),
    ...(chosen === 0 ? [] : [{ type: 'run.chosen' as const, count: chosen, message }]),
    ...(isFinal(state) ? [{ type: 'run.finished' as const, state, reason, message, coveredBy }] : []),
    ...(state === 'awaiting_approval'
      ? [{ type: 'run.awaiting_approval' as const, subject: 'c1', expiresAt: Date.now() + 60_000, message }]
      : []),
  ];
}

/** A clock on which every sleep takes one real millisecond, and time passes `speed` times as fast. */
export function createFastTime(speed = 1) {
  let now = 1_700_000_000_000;
  return {
    clock: () => now,
    async sleep(ms: number, until: WakeUp, isRunning = () => true): Promise<void> {
      if (ms <= 0 || until.isDue) return;
      await new Promise((resolve) => setTimeout(resolve, 1));
      if (!until.isDue && isRunning()) now += ms * speed;
    },
  };
}
