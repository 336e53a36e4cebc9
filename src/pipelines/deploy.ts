/** The deployment: clone, init, plan, checks, then what was approved is applied, exactly. Reads like the shell script it replaces. */

import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { PlanCheck } from '../config.ts';
import { CancelRequested } from '../errors.ts';
import type { CommandInput } from '../runs/command.ts';
import { type DeploySecrets, hasChanges, type KeptPlan, type PlanSummary } from '../runs/deployment.ts';
import type { Step } from '../runs/run.ts';
import type { RunEvent } from '../runs/run-events.ts';
import {
  type DeployPlace,
  type DeployPlaceOptions,
  forgetSecrets,
  layOut,
  layOutAgain,
  placeOf,
} from './deploy-place.ts';
import { planFlags, withTool } from './deploy-tool.ts';
import type { AwaitingApproval, Ended, Outcome, PipelineContext } from './pipeline.ts';
import { blockPending, plannedStep } from './planned-steps.ts';
import { checkStep, runChecks } from './terraform/checks.ts';
import { keepPlan, restorePlan } from './terraform/kept-plan.ts';
import { digestOf } from './terraform/plan-file.ts';
import { summaryWords } from './terraform/plan-summary.ts';
import type { PrepareOptions } from './terraform/prepare-tool.ts';
import { type InitOptions, initialise, makePlan, readOutputs } from './terraform/tool-phases.ts';
import { finishStep, type PreparedTool, runToolStep, StepFailed } from './tool-step.ts';

export interface DeployOptions extends InitOptions, PrepareOptions, DeployPlaceOptions {
  /** Why the commit is not to be deployed any more although a comment asked for it, or null. */
  withdrawn(asked: CommandInput, commit: string, signal: AbortSignal): Promise<string | null>;
  steps(runId: string): Promise<Step[]>;
  latestDecision(runId: string): Promise<Extract<RunEvent, { type: 'run.decided' }> | null>;
  latestPlan(runId: string): Promise<Extract<RunEvent, { type: 'run.planned' }> | null>;
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
const UNREADABLE = 'The credentials of the request cannot be read';

/** Throws when the signal ends it, when it is to be handed back, and for our own defects. */
export async function deploy(options: DeployOptions, context: Context): Promise<Outcome> {
  const place = placeOf(options, context.run);
  const outcome = await deployAt(options, context, place);
  if (outcome.state !== 'awaiting_approval') await forgetSecrets(options, place);
  return outcome;
}

async function deployAt(options: DeployOptions, context: Context, place: DeployPlace): Promise<Outcome> {
  const { run } = context;
  const steps = await options.steps(run.id);
  const apply = steps.find(({ id }) => id === 'apply');
  // Never applied again by itself: nobody but the tool's own state knows how far it came.
  if (apply && apply.state !== 'pending' && apply.state !== 'succeeded') return interrupted(context, steps);
  const secrets = await options.openSecrets(run.id);
  if (secrets === null) return { state: 'errored', reason: 'credentials_lost', message: UNREADABLE };
  try {
    const decision = await options.latestDecision(run.id);
    // What was applied is only brought to its end, also when nobody was asked for approval.
    if (decision?.decision === 'approved' || apply?.state === 'succeeded') {
      return await applyApproved(options, context, place, secrets, {
        digest: decision?.subject ?? '',
        isApplied: apply?.state === 'succeeded',
      });
    }
    return await planAndPause(options, context, place, secrets);
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error;
    await blockPending(context, await options.steps(run.id));
    return error.outcome;
  }
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
  { digest, isApplied }: { digest: string; isApplied: boolean },
): Promise<Outcome> {
  // An attempt that was cut off may have left one that was never shown.
  const isThere = isApplied ? existsSync(place.planFile) : (await digestOf(place.planFile)) === digest;
  const plan = isThere ? null : await options.openPlan(context.run.id);
  if (!isThere) {
    if (!plan && !isApplied) return planLost(context, await options.steps(context.run.id));
    await layOutAgain(options, context, place, { auth: secrets.git, plan });
  }
  return withTool(options, context, place, secrets, async (tool, prefaceLines) => {
    if (!isThere) {
      await initialise(options, tool, context, { flags: secrets.initFlags, prefaceLines });
      if (plan) await restorePlan(plan, place.planFile);
    }
    return applyPlan(options, context, place, tool, digest);
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
  const { run } = context;
  const steps = await options.steps(run.id);
  if (steps.find(({ id }) => id === 'apply')?.state !== 'succeeded') {
    if ((await digestOf(planFile)) !== digest) {
      return planLost(context, steps);
    }
    await runToolStep(options, tool, context, { step: 'apply', argv: ['apply', '-input=false', planFile] });
  }
  const output = steps.find(({ id }) => id === 'output');
  // An attempt before this one was cut off while it read them.
  if (output && output.state !== 'pending') {
    await context.emit(plannedStep('output', output.position, 'To be read again'));
  }
  const summary = (await options.latestPlan(run.id))?.summary ?? null;
  const unread = await tellOutputs(options, context, tool);
  const verb = run.input.operation === 'destroy' ? 'Destroyed' : 'Applied';
  const words = `${verb}: ${summaryWords(summary)}`;
  return { state: 'succeeded', reason: null, message: unread === null ? words : `${words}; ${unread}` };
}

/** What was applied stays applied, so a problem with the outputs is a remark and no failure. Returns it, or null. */
async function tellOutputs(
  options: DeployOptions,
  context: Context,
  tool: PreparedTool,
): Promise<string | null> {
  try {
    await context.emit({ type: 'run.outputs', outputs: await readOutputs(options, tool, context) });
    return null;
  } catch (error) {
    if (error instanceof CancelRequested) return outputsNotRead(context);
    if (!(error instanceof StepFailed)) throw error;
    const message = `The outputs could not be read: ${error.message}`;
    await context.emit({ type: 'run.notice', level: 'warning', message });
    return 'the outputs could not be read';
  }
}

/** The cancel came after the apply, so it cannot make the deployment one that was not done. */
async function outputsNotRead(context: Context): Promise<string> {
  await finishStep(context, 'output', 'cancelled', 'Ended before it was done');
  const message = 'The outputs were not read, as the run was cancelled after the apply';
  await context.emit({ type: 'run.notice', level: 'warning', message });
  return 'the outputs were not read, as the run was cancelled';
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
