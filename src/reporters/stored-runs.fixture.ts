/** For tests: runs in memory behind the part of RunStore that reporters use, and a clock that runs by itself. */

import type { PlanInput } from '../runs/plan-comment.ts';
import type { PlanRun, PreviewInput, PreviewRun, Run, SyncRun } from '../runs/run.ts';
import type { Report } from '../runs/run-store.ts';
import type { ReportingStore } from './owed-statuses.ts';

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
    coalesce: true,
    dedupeKey: null,
    state: 'queued',
    reason: null,
    message: '',
    revision: null,
    subject: null,
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

export interface StoredRuns extends ReportingStore {
  put(run: Run): void;
  change(id: string, changes: Partial<SyncRun>): void;
  savedReports: Report[];
  settledRuns: string[];
  /** While set, every write fails with it. */
  failure: Error | null;
}

export function createStoredRuns(): StoredRuns {
  const runs = new Map<string, Run>();
  const reports = new Map<string, Report>();
  const listeners = new Set<(runId: string) => void>();
  const settled = new Set<string>();
  const store: StoredRuns = {
    savedReports: [],
    settledRuns: [],
    failure: null,
    put(run) {
      runs.set(run.id, run);
      for (const listener of listeners) listener(run.id);
    },
    change(id, changes) {
      const run = runs.get(id);
      if (!run) throw new Error(`There is no run ${id}.`);
      store.put({ ...run, ...changes } as Run);
    },
    run: async (id) => runs.get(id) ?? null,
    unreported: async (_reporter, limit) =>
      [...runs.values()].filter(({ id }) => !settled.has(id)).slice(0, limit),
    reports: async (_reporter, runId) => [...reports.values()].filter((report) => report.runId === runId),
    async saveReport(report) {
      if (store.failure) throw store.failure;
      reports.set(`${report.runId} ${report.target}`, report);
      store.savedReports.push(report);
    },
    async settleRun(_reporter, runId) {
      if (store.failure) throw store.failure;
      settled.add(runId);
      store.settledRuns.push(runId);
    },
    watch(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  return store;
}

/** A clock on which sleeping takes a real millisecond, whatever its length. */
export function createFastTime() {
  let now = 1_700_000_000_000;
  return {
    clock: () => now,
    async sleep(ms: number, signal: AbortSignal): Promise<void> {
      if (ms <= 0 || signal.aborted) return;
      await new Promise((resolve) => setTimeout(resolve, 1));
      if (!signal.aborted) now += ms;
    },
  };
}
