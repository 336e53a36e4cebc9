/** A deployment: clone, init, plan and checks, then the apply of exactly the plan that was approved. */

import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { CancelRequested, StaleLeaseError } from '../../errors.ts';
import {
  type DeploySecrets,
  hasChanges,
  type KeptPlan,
  type PlanSummary,
} from '../../runs/deployments/deployment.ts';
import type { Step } from '../../runs/run.ts';
import type { Ended, Outcome, PipelineContext } from '../pipeline.ts';
import { blockPending, finishStep, plannedStep, StepFailed } from '../step.ts';
import { checkStep, runChecks } from '../terraform/checks.ts';
import { digestOf, keepPlan, restorePlan } from '../terraform/plan-file.ts';
import { summaryWords } from '../terraform/plan-summary.ts';
import { initialise, makePlan, readOutputs } from '../terraform/tool-phases.ts';
import { type PreparedTool, runToolStep } from '../terraform/tool-step.ts';
import {
  type Attempt,
  attemptAt,
  type DeployOptions,
  forgetSecrets,
  layOut,
  layOutAgain,
} from './attempt.ts';
import { endApplied } from './deploy-applied.ts';
import { planFlags, withTool } from './deploy-tool.ts';

/** Another server, which has a wall, accepted the request. */
const NO_WALL = 'An operator requested it, and neither EXECUTOR_COMMAND nor TRUST_OPERATORS is set here';
const UNREADABLE = 'The credentials of the request cannot be read';

/** Throws if the signal ends the run, if the run has to go back into the queue, and for our own defects. */
export async function deploy(options: DeployOptions, context: PipelineContext<'deploy'>): Promise<Outcome> {
  const attempt = attemptAt(options, context);
  let isEnded = false;
  try {
    const outcome = await deployAt(attempt);
    isEnded = outcome.state !== 'awaiting_approval';
    return outcome;
  } catch (error) {
    // After other errors the run may continue, here or on another worker, so housekeeping removes the secrets later.
    isEnded = context.signal.reason instanceof CancelRequested && !(error instanceof StaleLeaseError);
    throw error;
  } finally {
    if (isEnded) await forgetSecrets(attempt.folder, options.stepUser);
  }
}

async function deployAt(attempt: Attempt): Promise<Outcome> {
  const { options, context } = attempt;
  const steps = await options.steps(context.run.id);
  const apply = steps.find(({ id }) => id === 'apply');
  if (apply?.state === 'succeeded') return continueAfterApply(attempt);
  // It is not applied again, because only the tool's own state says how far the apply came.
  if (apply && apply.state !== 'pending') return interrupted(context, steps);
  try {
    const secrets = await requireSecrets(attempt);
    const decision = await options.latestDecision(context.run.id);
    if (decision?.decision === 'approved') return await applyApproved(attempt, secrets, decision.subject);
    return await planAndPause(attempt, secrets);
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error;
    await blockPending(context, await options.steps(context.run.id));
    return error.outcome;
  }
}

/** Throws StepFailed if this machine must not run the code, or if the credentials cannot be read any more. */
async function requireSecrets({ options, context: { run } }: Attempt): Promise<DeploySecrets> {
  if (run.input.needsWall && !options.hasWall) {
    throw new StepFailed({ state: 'errored', reason: 'no_wall', message: NO_WALL });
  }
  const secrets = await options.openSecrets(run.id);
  if (secrets !== null) return secrets;
  throw new StepFailed({ state: 'errored', reason: 'credentials_lost', message: UNREADABLE });
}

/** Does everything up to the approval, and also the apply if no approval is needed. */
async function planAndPause(attempt: Attempt, secrets: DeploySecrets): Promise<Outcome> {
  const { options, context, planFile, checkout } = attempt;
  const { input } = context.run;
  await announce(attempt);
  await requireStillWanted(attempt);
  await layOut(attempt, { auth: secrets.git });

  return withTool(attempt, secrets, async (tool, prefaceLines) => {
    await initialise(tool, context, { flags: secrets.initFlags, prefaceLines });
    const flags = await planFlags(attempt, tool.cwd, secrets);
    const { summary, digest, jsonFile } = await makePlan(tool, context, { planFile, flags });
    try {
      await runChecks(tool, context, { checks: options.checks, jsonFile });
    } finally {
      // It contains the values of all variables without a mask.
      await rm(jsonFile, { force: true });
    }
    if (input.operation === 'drift') return drifted(summary);
    if (input.autoApprove) {
      await requireStillWanted(attempt);
      return applyPlan(attempt, tool, digest);
    }
    const plan = await keepPlan(planFile, { checkout, cwd: tool.cwd });
    return {
      state: 'awaiting_approval',
      subject: digest,
      expiresAt: options.now() + options.approvalTimeoutMs,
      message: `Awaiting approval: ${summaryWords(summary)}`,
      ...(plan && { sealed: options.sealPlan(plan) }),
    };
  });
}

/** Throws StepFailed if a comment asked for the commit, and the head has moved or lost its approval since. */
async function requireStillWanted({ options, context: { run, signal } }: Attempt): Promise<void> {
  const { asked, gitRef } = run.input;
  const problem = asked ? await options.withdrawn(asked, gitRef, signal) : null;
  if (problem === null) return;
  const message = `Nothing was applied: ${problem}`;
  throw new StepFailed({ state: 'failed', reason: 'not_approved', message });
}

async function applyApproved(attempt: Attempt, secrets: DeploySecrets, digest: string): Promise<Outcome> {
  const { options, context, planFile } = attempt;
  // An attempt that was cut off may have left a plan that was never shown.
  const isThere = (await digestOf(planFile)) === digest;
  const plan = isThere ? null : await options.openPlan(context.run.id);
  if (!isThere && !plan) return planLost(attempt);
  return withToolAgain(attempt, secrets, { isThere, plan }, (tool) => applyPlan(attempt, tool, digest));
}

/** Finishes a deployment whose apply succeeded in an attempt that was cut off. */
function continueAfterApply(attempt: Attempt): Promise<Outcome> {
  const { options, context, planFile } = attempt;
  return endApplied(attempt, async () => {
    const secrets = await requireSecrets(attempt);
    const isThere = existsSync(planFile);
    const plan = isThere ? null : await options.openPlan(context.run.id);
    return withToolAgain(attempt, secrets, { isThere, plan }, (tool) => readOutputs(tool, context));
  });
}

/** Uses the folder of the plan that was shown, and makes it again if it is not there. */
async function withToolAgain<T>(
  attempt: Attempt,
  secrets: DeploySecrets,
  { isThere, plan }: { isThere: boolean; plan: KeptPlan | null },
  work: (tool: PreparedTool) => Promise<T>,
): Promise<T> {
  if (!isThere) await layOutAgain(attempt, { auth: secrets.git, plan });
  return withTool(attempt, secrets, async (tool, prefaceLines) => {
    if (!isThere) {
      await initialise(tool, attempt.context, { flags: secrets.initFlags, prefaceLines });
      if (plan) await restorePlan(plan, attempt.planFile);
    }
    return work(tool);
  });
}

/** Applies the plan if it has this digest. */
async function applyPlan(attempt: Attempt, tool: PreparedTool, digest: string): Promise<Outcome> {
  const { context, planFile } = attempt;
  if ((await digestOf(planFile)) !== digest) return planLost(attempt);
  await runToolStep(tool, context, { step: 'apply', argv: ['apply', '-input=false', planFile] });
  return endApplied(attempt, () => readOutputs(tool, context));
}

async function announce({ options, context: { run, emit } }: Attempt): Promise<void> {
  const before = ['clone', 'init', 'plan', ...options.checks.map((check) => checkStep(check))];
  const steps = run.input.operation === 'drift' ? before : [...before, 'apply', 'output'];
  await emit(
    { type: 'run.chosen', count: steps.length, message: 'Planning' },
    ...steps.map((step, position) => plannedStep(step, position)),
  );
}

async function interrupted(context: PipelineContext<'deploy'>, steps: readonly Step[]): Promise<Ended> {
  const message = 'The apply was interrupted; what it had done until then stays';
  if (steps.some(({ id, state }) => id === 'apply' && state === 'running')) {
    await finishStep(context, 'apply', { state: 'failed', message });
  }
  await blockPending(context, steps);
  return { state: 'failed', reason: 'interrupted', message };
}

function drifted(summary: PlanSummary | null): Ended {
  const message = hasChanges(summary) ? `Differs: ${summaryWords(summary)}` : 'Nothing differs';
  return { state: 'succeeded', reason: null, message };
}

async function planLost({ options, context }: Attempt): Promise<Ended> {
  await blockPending(context, await options.steps(context.run.id));
  const message = 'The plan that was shown is missing or has changed; nothing was applied';
  return { state: 'failed', reason: 'plan_lost', message };
}
