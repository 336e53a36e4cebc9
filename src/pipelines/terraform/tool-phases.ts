/** The steps that plans and deployments share: `init`, `plan` and `output`. */

import { writeFile } from 'node:fs/promises';
import { describeError } from '../../errors.ts';
import { letGroupRead } from '../../isolation/open-folder.ts';
import type { DeployOutput, PlanSummary } from '../../runs/deployments/deployment.ts';
import { cutInTheMiddle } from '../../runs/texts/cut-in-the-middle.ts';
import { finishStep, type StepContext } from '../step.ts';
import { maskOutputs, readOutputsJson } from './outputs.ts';
import { digestOf, madeAt, takePlan } from './plan-file.ts';
import { maskSummary, summarizePlan, summaryWords } from './plan-summary.ts';
import { captureTool, type PreparedTool, runToolStep, stopStep } from './tool-step.ts';

/** A longer text of a plan is cut in the middle. */
const MAX_PLAN_CHARACTERS = 16 * 1024 * 1024;

/** The step `init`. `prefaceLines` are logged first. */
export async function initialise(
  tool: PreparedTool,
  context: StepContext,
  {
    flags,
    prefaceLines,
    step = 'init',
  }: { flags: readonly string[]; prefaceLines: readonly string[]; step?: string },
): Promise<void> {
  const argv = ['init', '-input=false'];
  await runToolStep(tool, context, { step, argv, flags, prefaceLines, executor: tool.initExecutor });
}

interface MadePlan {
  summary: PlanSummary | null;
  /** SHA-256 of the plan file, hex. */
  digest: string;
  /** The plan as JSON, for checks. It lies beside the plan file. */
  jsonFile: string;
}

interface WantedPlan {
  planFile: string;
  flags: readonly string[];
  step?: string;
  /** True leaves colours out of the log. */
  plain?: boolean;
  /** A longer text is cut in the middle. */
  maxCharacters?: number;
}

/** The step `plan`: makes the plan, renders it, and stores its text and its summary. */
export async function makePlan(
  tool: PreparedTool,
  context: StepContext,
  { planFile, flags, step = 'plan', plain = false, maxCharacters = MAX_PLAN_CHARACTERS }: WantedPlan,
): Promise<MadePlan> {
  const argv = ['plan', '-input=false', ...(plain ? ['-no-color'] : []), `-out=${madeAt(planFile)}`];
  await runToolStep(tool, context, { step, argv, flags, finish: false });
  try {
    await takePlan(planFile, context.signal);
  } catch (error) {
    context.signal.throwIfAborted();
    await stopStep(context, step, `${step}: the plan file cannot be used: ${describeError(error)}`);
  }
  const digest = await digestOf(planFile);
  const shown = await captureTool(tool, context, { step, argv: ['show', '-no-color', planFile] });
  const json = await captureTool(tool, context, { step, argv: ['show', '-json', planFile] });
  const jsonFile = `${planFile}.json`;
  // The plan is not masked, because checks need the real values. Their output is masked.
  await writeFile(jsonFile, json.unmasked, { mode: 0o600 });
  await letGroupRead(jsonFile);
  const summary = maskSummary(summarizePlan(json.unmasked), json.mask);
  const text = cutInTheMiddle((await shown.shown()).trim(), maxCharacters);
  await context.emit({ type: 'run.planned', step, summary, text });
  await finishStep(context, step, { state: 'succeeded', message: summaryWords(summary), exitCode: 0 });
  return { summary, digest, jsonFile };
}

/** The step `output`. */
export async function readOutputs(
  tool: PreparedTool,
  context: StepContext,
): Promise<Record<string, DeployOutput>> {
  const step = 'output';
  const argv = ['output', '-json'];
  await context.emit({ type: 'step.started', step, command: [tool.program, ...argv], ledger: null });
  const said = await captureTool(tool, context, { step, argv });
  const found = readOutputsJson(said.unmasked);
  if (found === null) return stopStep(context, step, `${step}: the output of the tool is not understood`);
  const outputs = await maskOutputs(found, said);
  const message = `${Object.keys(outputs).length} output(s)`;
  await finishStep(context, step, { state: 'succeeded', message, exitCode: 0 });
  return outputs;
}
