/** The deployment: clone, init, plan, checks, then what was approved is applied, exactly. Reads like the shell script it replaces. */

import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { PlanCheck } from '../../config.ts';
import { CancelRequested, StaleLeaseError } from '../../errors.ts';
import type { CommandInput } from '../../runs/command.ts';
import {
  type DeploySecrets,
  hasChanges,
  type KeptPlan,
  type PlanSummary,
} from '../../runs/deployments/deployment.ts';
import type { Step } from '../../runs/run.ts';
import type { RunEvent } from '../../runs/run-events.ts';
import type { AwaitingApproval, Ended, Outcome, PipelineContext } from '../pipeline.ts';
import { blockPending, plannedStep } from '../sync/planned-steps.ts';
import { checkStep, runChecks } from '../terraform/checks.ts';
import { keepPlan, restorePlan } from '../terraform/kept-plan.ts';
import { digestOf } from '../terraform/plan-file.ts';
import { summaryWords } from '../terraform/plan-summary.ts';
import type { PrepareOptions } from '../terraform/prepare-tool.ts';
import { type InitOptions, initialise, makePlan, readOutputs } from '../terraform/tool-phases.ts';
import { finishStep, type PreparedTool, runToolStep, StepFailed } from '../tool-step.ts';
import { type AppliedOptions, endApplied } from './deploy-applied.ts';
import {
  type DeployPlace,
  type DeployPlaceOptions,
  forgetSecrets,
  layOut,
  layOutAgain,
  placeOf,
} from './deploy-place.ts';
import { planFlags, withTool } from './deploy-tool.ts';

export interface DeployOptions extends InitOptions, PrepareOptions, DeployPlaceOptions, AppliedOptions {
  /** Code that an operator asks for may run here. */
  hasWall: boolean;
  /** Why the commit is not to be deployed any more although a comment asked for it, or null. */
  withdrawn(asked: CommandInput, commit: string, signal: AbortSignal): Promise<string | null>;
  latestDecision(runId: string): Promise<Extract<RunEvent, { type: 'run.decided' }> | null>;
  /** Null when they cannot be read any more. */
  openSecrets(runId: string): Promise<DeploySecrets | null>;
  sealPlan(plan: KeptPlan): string;
  /** Null when none was kept, or it cannot be read any more. */
  openPlan(runId: string): Promise<KeptPlan | null>;
  checks: readonly PlanCheck[];
  approvalTimeoutMs: number;
  now(): number;
}

type Context = PipelineContext<'deploy'>;
/** A server with a wall accepted it, and this machine has none. */
const NO_WALL = 'An operator requested it, and neither EXECUTOR_COMMAND nor TRUST_OPERATORS is set here';
const UNREADABLE = 'The credentials of the request cannot be read';

/** Throws when the signal ends it, when it is to be handed back, and for our own defects. */
export async function deploy(options: DeployOptions, context: Context): Promise<Outcome> {
  const place = placeOf(options, context.run);
  let isEnded = false;
  try {
    const outcome = await deployAt(options, context, place);
    isEnded = outcome.state !== 'awaiting_approval';
    return outcome;
  } catch (error) {
    // Whatever else is thrown may hand it back, or belongs to another worker by now; housekeeping looks after these.
    isEnded = context.signal.reason instanceof CancelRequested && !(error instanceof StaleLeaseError);
    throw error;
  } finally {
    if (isEnded) await forgetSecrets(options, place.folder);
  }
}

async function deployAt(options: DeployOptions, context: Context, place: DeployPlace): Promise<Outcome> {
  const { run } = context;
  const steps = await options.steps(run.id);
  const apply = steps.find(({ id }) => id === 'apply');
  // Never applied again by itself: nobody but the tool's own state knows how far it came.
  if (apply && apply.state !== 'pending' && apply.state !== 'succeeded') return interrupted(context, steps);
  if (apply?.state === 'succeeded') return goOnBehindApply(options, context, place);
  try {
    const secrets = await requireSecrets(options, context);
    const decision = await options.latestDecision(run.id);
    if (decision?.decision === 'approved') {
      return await applyApproved(options, context, place, secrets, decision.subject);
    }
    return await planAndPause(options, context, place, secrets);
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error;
    await blockPending(context, await options.steps(run.id));
    return error.outcome;
  }
}

/** Throws StepFailed when this machine must not start its code, or its credentials cannot be read any more. */
async function requireSecrets(options: DeployOptions, { run }: Context): Promise<DeploySecrets> {
  if (run.input.needsWall && !options.hasWall) {
    throw new StepFailed({ state: 'errored', reason: 'no_wall', message: NO_WALL });
  }
  const secrets = await options.openSecrets(run.id);
  if (secrets !== null) return secrets;
  throw new StepFailed({ state: 'errored', reason: 'credentials_lost', message: UNREADABLE });
}

/** Everything up to the approval, and beyond it when none is asked for. */
async function planAndPause(
  options: DeployOptions,
  context: Context,
  place: DeployPlace,
  secrets: DeploySecrets,
): Promise<Outcome> {
  const { run } = context;
  await announce(options, context);
  await requireStillWanted(options, context);
  await layOut(options, context, place, { auth: secrets.git });

  return withTool(options, context, place, secrets, async (tool, prefaceLines) => {
    await initialise(options, tool, context, { flags: secrets.initFlags, prefaceLines });
    const { summary, digest, jsonFile } = await makePlan(options, tool, context, {
      planFile: place.planFile,
      flags: await planFlags(context, tool.cwd, place, secrets),
    });
    try {
      await runChecks(options, tool, context, { checks: options.checks, jsonFile });
    } finally {
      // It holds the values of all variables in the clear.
      await rm(jsonFile, { force: true });
    }
    if (run.input.operation === 'drift') return drifted(summary);
    if (run.input.autoApprove) {
      await requireStillWanted(options, context);
      return applyPlan(options, context, place, tool, digest);
    }
    const plan = await keepPlan(place.planFile, { checkout: place.checkout, cwd: tool.cwd });
    return {
      ...awaitApproval(options, summary, digest),
      ...(plan && { sealed: options.sealPlan(plan) }),
    };
  });
}

/** A head that a comment asked for may have moved, or lost its approval, since. */
async function requireStillWanted(options: DeployOptions, { run, signal }: Context): Promise<void> {
  const { asked, gitRef } = run.input;
  const problem = asked ? await options.withdrawn(asked, gitRef, signal) : null;
  if (problem === null) return;
  throw new StepFailed({
    state: 'failed',
    reason: 'not_approved',
    message: `Nothing was applied: ${problem}`,
  });
}

function awaitApproval(
  options: DeployOptions,
  summary: PlanSummary | null,
  digest: string,
): AwaitingApproval {
  return {
    state: 'awaiting_approval',
    subject: digest,
    expiresAt: options.now() + options.approvalTimeoutMs,
    message: `Awaiting approval: ${summaryWords(summary)}`,
  };
}

async function applyApproved(
  options: DeployOptions,
  context: Context,
  place: DeployPlace,
  secrets: DeploySecrets,
  digest: string,
): Promise<Outcome> {
  // An attempt that was cut off may have left one that was never shown.
  const isThere = (await digestOf(place.planFile)) === digest;
  const plan = isThere ? null : await options.openPlan(context.run.id);
  if (!isThere && !plan) return planLost(context, await options.steps(context.run.id));
  return withToolAgain(options, context, place, secrets, { isThere, plan }, (tool) =>
    applyPlan(options, context, place, tool, digest),
  );
}

/** What an attempt that was cut off has applied is brought to its end, also when nobody was asked for approval. */
function goOnBehindApply(options: DeployOptions, context: Context, place: DeployPlace): Promise<Outcome> {
  return endApplied(options, context, async () => {
    const secrets = await requireSecrets(options, context);
    const isThere = existsSync(place.planFile);
    const plan = isThere ? null : await options.openPlan(context.run.id);
    return withToolAgain(options, context, place, secrets, { isThere, plan }, (tool) =>
      readOutputs(options, tool, context),
    );
  });
}

/** Where the plan was shown; what is not there any more is laid out again. */
async function withToolAgain<T>(
  options: DeployOptions,
  context: Context,
  place: DeployPlace,
  secrets: DeploySecrets,
  { isThere, plan }: { isThere: boolean; plan: KeptPlan | null },
  work: (tool: PreparedTool) => Promise<T>,
): Promise<T> {
  if (!isThere) await layOutAgain(options, context, place, { auth: secrets.git, plan });
  return withTool(options, context, place, secrets, async (tool, prefaceLines) => {
    if (!isThere) {
      await initialise(options, tool, context, { flags: secrets.initFlags, prefaceLines });
      if (plan) await restorePlan(plan, place.planFile);
    }
    return work(tool);
  });
}

/** Applies the plan with this digest, or nothing. */
async function applyPlan(
  options: DeployOptions,
  context: Context,
  { planFile }: DeployPlace,
  tool: PreparedTool,
  digest: string,
): Promise<Outcome> {
  const steps = await options.steps(context.run.id);
  if ((await digestOf(planFile)) !== digest) return planLost(context, steps);
  await runToolStep(options, tool, context, { step: 'apply', argv: ['apply', '-input=false', planFile] });
  return endApplied(options, context, () => readOutputs(options, tool, context));
}

async function announce(options: DeployOptions, { run, emit }: Context): Promise<void> {
  const before = ['clone', 'init', 'plan', ...options.checks.map((check) => checkStep(check))];
  const after = run.input.operation === 'drift' ? [] : ['apply', 'output'];
  const steps = [...before, ...after];
  await emit(
    { type: 'run.chosen', count: steps.length, message: 'Planning' },
    ...steps.map((step, position) => plannedStep(step, position)),
  );
}

async function interrupted(context: Context, steps: Step[]): Promise<Ended> {
  const message = 'The apply was interrupted; what it had done until then stays';
  if (steps.some(({ id, state }) => id === 'apply' && state === 'running')) {
    await finishStep(context, 'apply', 'failed', message);
  }
  await blockPending(context, steps);
  return { state: 'failed', reason: 'interrupted', message };
}

function drifted(summary: PlanSummary | null): Ended {
  const message = hasChanges(summary) ? `Differs: ${summaryWords(summary)}` : 'Nothing differs';
  return { state: 'succeeded', reason: null, message };
}

async function planLost(context: Context, steps: Step[]): Promise<Ended> {
  await blockPending(context, steps);
  const message = 'The plan that was shown is not there unchanged; nothing was applied';
  return { state: 'failed', reason: 'plan_lost', message };
}
