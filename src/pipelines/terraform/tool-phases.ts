/** The phases that every use of the tool shares: init, plan with what is told of it, outputs. */

import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describeError } from '../../errors.ts';
import type { Executor } from '../../executor/executor.ts';
import { letGroupRead } from '../../isolation/open-folder.ts';
import type { DeployOutput, PlanSummary } from '../../runs/deployments/deployment.ts';
import { cutInTheMiddle } from '../../runs/texts/cut-in-the-middle.ts';
import {
  captureTool,
  finishStep,
  type PreparedTool,
  runToolStep,
  type StepContext,
  StepFailed,
  type ToolOptions,
} from '../tool-step.ts';
import { maskOutputs, readOutputsJson } from './outputs.ts';
import { digestOf, madeAt, takePlan } from './plan-file.ts';
import { maskSummary, summarizePlan, summaryWords } from './plan-summary.ts';

/** What people see of a plan. Larger ones are cut in the middle. */
const MAX_PLAN_CHARACTERS = 16 * 1024 * 1024;

export interface InitOptions extends ToolOptions {
  /** For `init` alone: shares the provider cache with other runs. */
  initExecutor: Executor;
}

/** The step `init`. `prefaceLines` are logged in it first. */
export async function initialise(
  options: InitOptions,
  tool: PreparedTool,
  context: StepContext,
  {
    flags,
    prefaceLines,
    step = 'init',
  }: { flags: readonly string[]; prefaceLines: readonly string[]; step?: string },
): Promise<void> {
  await runToolStep({ ...options, executor: options.initExecutor }, tool, context, {
    step,
    argv: ['init', '-input=false'],
    flags,
    prefaceLines,
  });
}

export interface MadePlan {
  summary: PlanSummary | null;
  /** SHA-256 of the plan file, hex. */
  digest: string;
  /** The plan as the tool's JSON, for checks; beside the plan file. */
  jsonFile: string;
  text: string;
}

export interface PlanWishes {
  planFile: string;
  flags: readonly string[];
  step?: string;
  /** Without colours in the log. */
  plain?: boolean;
  /** Of the stored text; a longer one is cut in the middle. */
  maxCharacters?: number;
}

/** The step `plan`: makes the plan, renders it, and stores what it would do. */
export async function makePlan(
  options: ToolOptions,
  tool: PreparedTool,
  context: StepContext,
  { planFile, flags, step = 'plan', plain = false, maxCharacters = MAX_PLAN_CHARACTERS }: PlanWishes,
): Promise<MadePlan> {
  const argv = ['plan', '-input=false', ...(plain ? ['-no-color'] : []), `-out=${madeAt(planFile)}`];
  await runToolStep(options, tool, context, { step, argv, flags, finish: false });
  await take(planFile, context, step);
  const digest = await digestOf(planFile);
  const shown = await captureTool(options, tool, context, { step, argv: ['show', '-no-color', planFile] });
  const json = await captureTool(options, tool, context, { step, argv: ['show', '-json', planFile] });
  const jsonFile = path.join(path.dirname(planFile), `${path.basename(planFile)}.json`);
  // Not masked: checks judge what will be done. What they say is masked as any output.
  await writeFile(jsonFile, json.unmasked, { mode: 0o600 });
  await letGroupRead(jsonFile);
  const summary = maskSummary(summarizePlan(json.unmasked), json.mask);
  const text = cutInTheMiddle((await shown.shown()).trim(), maxCharacters);
  await context.emit({ type: 'run.planned', step, summary, text });
  await finishStep(context, step, 'succeeded', summaryWords(summary), 0);
  return { summary, digest, jsonFile, text };
}

async function take(planFile: string, context: StepContext, step: string): Promise<void> {
  try {
    await takePlan(planFile, context.signal);
  } catch (error) {
    context.signal.throwIfAborted();
    const message = `${step}: the plan file cannot be used: ${describeError(error)}`;
    await finishStep(context, step, 'failed', message);
    throw new StepFailed({ state: 'failed', reason: 'step_failed', message });
  }
}

/** The step `output`. */
export async function readOutputs(
  options: ToolOptions,
  tool: PreparedTool,
  context: StepContext,
): Promise<Record<string, DeployOutput>> {
  const step = 'output';
  const argv = ['output', '-json'];
  await context.emit({ type: 'step.started', step, command: [tool.program, ...argv], ledger: null });
  const said = await captureTool(options, tool, context, { step, argv });
  const read = readOutputsJson(said.unmasked);
  if (read === null) {
    const message = `${step}: what the tool said is not understood`;
    await finishStep(context, step, 'failed', message);
    throw new StepFailed({ state: 'failed', reason: 'step_failed', message });
  }
  const outputs = await maskOutputs(read.outputs, said);
  await finishStep(context, step, 'succeeded', `${Object.keys(outputs).length} output(s)`, 0);
  return outputs;
}
