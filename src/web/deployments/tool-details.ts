/** Reads the details that only runs of Terraform or OpenTofu have: plans, approval, outputs. */

import type { DeployOutput } from '../../runs/deployments/deployment.ts';
import { kindOf } from '../../runs/kinds/kinds.ts';
import type { DeployRun, PlanRun, Run, Step, StepState } from '../../runs/run.ts';
import type { RunEvent } from '../../runs/run-events.ts';
import type { RunStore } from '../../runs/run-store.ts';
import { type Approval, readApproval } from '../runs/approval-view.ts';

type EventOf<Type extends RunEvent['type']> = Extract<RunEvent, { type: Type }>;

export type ToolRun = DeployRun | PlanRun;

/** A root module with either its plan, or the reason why there is none. */
export type PlannedRoot = { step: string; directory: string | null } & (
  | { plan: EventOf<'run.planned'>; problem: null }
  | { plan: null; problem: EventOf<'run.diagnosed'> }
);

export interface ToolDetails {
  run: ToolRun;
  roots: PlannedRoot[];
  /** Null when nobody was asked. */
  approval: Approval | null;
  /** Null until they are known. */
  outputs: Record<string, DeployOutput> | null;
}

const SHOWS_PLAN: ReadonlySet<StepState> = new Set(['running', 'succeeded']);
const SHOWS_PROBLEM: ReadonlySet<StepState> = new Set(['failed', 'timed_out', 'blocked', 'cancelled']);

export function isToolRun(run: Run): run is ToolRun {
  return kindOf(run).tool !== undefined;
}

/** Null for runs of other kinds. */
export async function readToolDetails(
  store: Pick<RunStore, 'latestEvent' | 'eventsOf'>,
  run: Run,
  steps: readonly Step[],
): Promise<ToolDetails | null> {
  if (!isToolRun(run)) return null;
  const [roots, approval, outputs] = await Promise.all([
    readRoots(store, run, steps),
    readApproval(store, run),
    store.latestEvent(run.id, 'run.outputs'),
  ]);
  return { run, roots, approval, outputs: outputs?.outputs ?? null };
}

/** Reads plans and problems in the order of the steps, without those of an attempt that was cut off. */
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

/** The folder of the root module that a step plans, or null for a step that plans none. */
function directoryOf(run: ToolRun, step: string): string | null {
  if (step === 'plan') return kindOf(run).tool?.directory(run.input) ?? null;
  return /^plan (.+)$/s.exec(step)?.[1] ?? null;
}
