/** What is shown of a run of Terraform or OpenTofu beside its steps: plans, approval, outputs, its target's history. */

import type { DeployOutput } from '../../runs/deployments/deployment.ts';
import { kindOf } from '../../runs/kinds/kinds.ts';
import type { DeployRun, PlanRun, Run, Step, StepState } from '../../runs/run.ts';
import type { RunEvent } from '../../runs/run-events.ts';
import type { RunStore } from '../../runs/run-store.ts';

type EventOf<Type extends RunEvent['type']> = Extract<RunEvent, { type: Type }>;

export type ToolRun = DeployRun | PlanRun;

/** A root module: either its plan, or why there is none. */
export type PlannedRoot = { step: string; directory: string | null } & (
  | { plan: EventOf<'run.planned'>; problem: null }
  | { plan: null; problem: EventOf<'run.diagnosed'> }
);

export interface Approval {
  /** What it is bound to: the SHA-256 of a plan, or a commit. Null for whoever was asked before that was stored. */
  subject: string | null;
  /** Null once decided. */
  expiresAt: number | null;
  decided: Pick<EventOf<'run.decided'>, 'decision' | 'by' | 'at'> | null;
}

export interface ToolDetails {
  roots: PlannedRoot[];
  /** Null when nobody was asked. */
  approval: Approval | null;
  /** Null until they are known. */
  outputs: Record<string, DeployOutput> | null;
}

type DetailsReader = Pick<RunStore, 'latestEvent' | 'eventsOf'>;

const SHOWS_PLAN: ReadonlySet<StepState> = new Set(['running', 'succeeded']);
const SHOWS_PROBLEM: ReadonlySet<StepState> = new Set(['failed', 'timed_out', 'blocked', 'cancelled']);

export function isToolRun(run: Run): run is ToolRun {
  return kindOf(run).tool !== undefined;
}

/** Null for runs of other kinds. */
export async function readToolDetails(
  store: DetailsReader,
  run: Run,
  steps: readonly Step[],
): Promise<ToolDetails | null> {
  if (!isToolRun(run)) return null;
  const [roots, awaiting, decided, outputs] = await Promise.all([
    readRoots(store, run, steps),
    store.latestEvent(run.id, 'run.awaiting_approval'),
    store.latestEvent(run.id, 'run.decided'),
    store.latestEvent(run.id, 'run.outputs'),
  ]);
  const approval =
    awaiting || decided
      ? { subject: (decided ?? awaiting)?.subject ?? null, expiresAt: run.approvalExpiresAt, decided }
      : null;
  return { roots, approval, outputs: outputs?.outputs ?? null };
}

/** In the order of the steps. What an attempt that was cut off left behind no longer counts. */
export async function readRoots(
  store: Pick<RunStore, 'eventsOf'>,
  run: ToolRun,
  steps: readonly Step[],
): Promise<PlannedRoot[]> {
  const [plans, problems] = await Promise.all([
    store.eventsOf(run.id, 'run.planned'),
    store.eventsOf(run.id, 'run.diagnosed'),
  ]);
  return steps.flatMap(({ id: step, state }): PlannedRoot[] => {
    const directory = directoryOf(run, step);
    const plan = SHOWS_PLAN.has(state) && plans.findLast((event) => event.step === step);
    if (plan) return [{ step, directory, plan, problem: null }];
    const problem = SHOWS_PROBLEM.has(state) && problems.findLast((event) => event.step === step);
    return problem ? [{ step, directory, plan: null, problem }] : [];
  });
}

/** The folder of the root module that a step plans; null for a step that is about no one of them. */
function directoryOf(run: ToolRun, step: string): string | null {
  if (step === 'plan') return kindOf(run).tool?.directory(run.input) ?? null;
  return /^plan (.+)$/s.exec(step)?.[1] ?? null;
}
