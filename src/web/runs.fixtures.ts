/** Runs in memory, for the tests of the pages: what a store would answer after the given events. */

import { type DeployInput, deployGroup } from '../runs/deployment.ts';
import { type PlanInput, planGroup } from '../runs/plan-comment.ts';
import {
  type DeployRun,
  type PlanRun,
  type PreviewRun,
  type Run,
  type Step,
  type SyncRun,
  syncGroup,
} from '../runs/run.ts';
import {
  projectRun,
  projectStep,
  type RunEvent,
  type RunEventBody,
  sequenceWidth,
} from '../runs/run-events.ts';
import type { Report, RunStore } from '../runs/run-store.ts';
import type { RunReader } from './run-pages.ts';

export const START_AT = Date.parse('2026-03-01T12:00:00.000Z');

interface StoredRun {
  run: Run;
  steps: Map<string, Step>;
  events: RunEvent[];
  nextSeq: number;
}

type PreviewOverrides = Partial<PreviewRun> & Pick<PreviewRun, 'kind' | 'input'>;

export interface MemoryRuns extends RunReader {
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

export function createMemoryRuns(): MemoryRuns {
  const stored = new Map<string, StoredRun>();
  const listeners = new Set<(runId: string) => void>();
  const reports: Report[] = [];
  let largest = 0;
  const eventsOf: RunStore['eventsOf'] = async (runId, type) => {
    const isWanted = (event: RunEvent): event is Extract<RunEvent, { type: typeof type }> =>
      event.type === type;
    return stored.get(runId)?.events.filter(isWanted) ?? [];
  };
  const latestEvent: RunStore['latestEvent'] = async (runId, type) => {
    const isWanted = (event: RunEvent): event is Extract<RunEvent, { type: typeof type }> =>
      event.type === type;
    return stored.get(runId)?.events.filter(isWanted).at(-1) ?? null;
  };

  function append(id: string, ...bodies: RunEventBody[]): void {
    const entry = stored.get(id);
    if (!entry) throw new Error(`No run ${id}.`);
    for (const body of bodies) {
      const at = START_AT + entry.events.length * 1000;
      entry.events.push({ ...body, runId: id, seq: entry.nextSeq, at });
      entry.nextSeq += sequenceWidth(body);
      entry.run = projectRun(entry.run, body, at);
      const step = 'step' in body ? projectStep(entry.steps.get(body.step), body, at) : undefined;
      if (step) entry.steps.set(step.id, step);
    }
    for (const listener of listeners) listener(id);
  }

  function put(run: Run): void {
    stored.set(run.id, { run, steps: new Map(), events: [], nextSeq: 1 });
    append(run.id, { type: 'run.queued' });
  }

  return {
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
    run: async (id) => stored.get(id)?.run ?? null,
    runs: async ({ state, kind, concurrencyGroup, before, limit }) => {
      const newestFirst = [...stored.values()].map(({ run }) => run).toReversed();
      const from = before === undefined ? 0 : newestFirst.findIndex(({ id }) => id === before) + 1;
      return newestFirst
        .slice(from)
        .filter((run) => !state || run.state === state)
        .filter((run) => !kind || run.kind === kind)
        .filter((run) => concurrencyGroup === undefined || run.concurrencyGroup === concurrencyGroup)
        .slice(0, limit);
    },
    steps: async (id) => [...(stored.get(id)?.steps.values() ?? [])],
    events: async (id, { after, limit }) => {
      const events = stored.get(id)?.events ?? [];
      const found = events.filter((event) => event.seq + sequenceWidth(event) - 1 > after).slice(0, limit);
      largest = Math.max(largest, found.length);
      return found;
    },
    eventsOf,
    latestEvent,
    reports: async (reporter, id) =>
      reports.filter((report) => report.runId === id && report.reporter === reporter),
    report: (report) => void reports.push(report),
    watch: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
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
