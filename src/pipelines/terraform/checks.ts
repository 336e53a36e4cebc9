/** The steps `check-<name>`: commands of the operator that judge a plan before anybody is asked to approve it. */

import path from 'node:path';
import type { PlanCheck } from '../../config.ts';
import type { StepResult } from '../../executor/executor.ts';
import type { RunReason } from '../../runs/run.ts';
import {
  finishStep,
  type PreparedTool,
  type StepContext,
  StepFailed,
  type ToolOptions,
} from '../tool-step.ts';
import { withTails } from './diagnosis.ts';
import { operatorEnvironment } from './environment.ts';

export interface CheckResult {
  name: string;
  required: boolean;
  verdict: 'passed' | 'failed' | 'timed_out' | 'not_started' | 'lost';
  /** One sentence, begins with a capital. */
  message: string;
}

/** The step of a check. `root` is the folder whose plan it judges, where there are several. */
export function checkStep({ name }: PlanCheck, root: string | null = null): string {
  return root === null ? `check-${name}` : `check-${name} ${root}`;
}

/**
 * Runs every check, also after one that fails: people want to see them all. `jsonFile` is the plan as JSON. Throws
 * StepFailed when one that is required does not pass, and the signal's reason when that ended it.
 */
export async function runChecks(
  options: ToolOptions,
  tool: PreparedTool,
  context: StepContext,
  { checks, jsonFile, root }: { checks: readonly PlanCheck[]; jsonFile: string; root?: string | null },
): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const check of checks) {
    context.draining.throwIfAborted();
    results.push(await runCheck(options, tool, context, check, { step: checkStep(check, root), jsonFile }));
  }
  const refusals = results.filter(({ required, verdict }) => required && verdict !== 'passed');
  if (refusals.length === 0) return results;
  const names = refusals.map(({ name }) => name).join(', ');
  const missing = refusals.every(({ verdict }) => verdict === 'not_started' || verdict === 'lost');
  const lost = refusals.some(({ verdict }) => verdict === 'lost');
  const reason: RunReason = missing ? (lost ? 'executor_lost' : 'tool_missing') : 'check_failed';
  const message = `Required check${refusals.length === 1 ? '' : 's'} not passed: ${names}`;
  throw new StepFailed({ state: missing ? 'errored' : 'failed', reason, message });
}

async function runCheck(
  { executor, interruptGraceMs }: ToolOptions,
  tool: PreparedTool,
  context: StepContext,
  check: PlanCheck,
  { step, jsonFile }: { step: string; jsonFile: string },
): Promise<CheckResult> {
  const { watching, tail } = withTails(context);
  const [program, ...rest] = check.argv;
  const argv = [program, ...rest.map((word) => word.replaceAll('{plan}', jsonFile))] as const;
  await context.emit({ type: 'step.started', step, command: [...argv], ledger: null });
  const result = await executor.run(
    {
      argv,
      // Not the checkout: such programs take settings from where they stand, and no plan brings its own judge.
      cwd: path.dirname(jsonFile),
      env: checkEnvironment(tool.env, jsonFile),
      timeoutMs: tool.timeoutMs,
      signal: context.signal,
      interruptGraceMs,
      secrets: [...tool.secrets, ...tool.given],
    },
    {
      onStart: ({ pid, startTicks }) => void context.emit({ type: 'step.process', step, pid, startTicks }),
      onLines: (stream, lines) => watching.emit({ type: 'step.log', step, stream, lines }),
    },
  );
  if (result.kind === 'cancelled') {
    await finishStep(context, step, 'cancelled', 'Ended before it was done');
    context.signal.throwIfAborted();
    throw new Error(`Step ${step} was cancelled by nobody.`);
  }
  const { verdict, message } = judge(result, tool.timeoutMs);
  const { required } = check;
  const passed = verdict === 'passed';
  await context.emit({ type: 'run.checked', step, required, passed, message, lines: tail() });
  const remark = passed || required ? '' : ' (not required)';
  await finishStep(
    context,
    step,
    passed ? 'succeeded' : verdict === 'timed_out' ? 'timed_out' : 'failed',
    `${message}${remark}`,
    result.kind === 'exited' ? result.exitCode : null,
  );
  return { name: check.name, required, verdict, message };
}

/** From nothing: what a request brought could change the verdict. */
function checkEnvironment(env: Readonly<Record<string, string>>, jsonFile: string): Record<string, string> {
  const { HOME = '/', TMPDIR = '/tmp', IAC_RUN_ID = '' } = env;
  return { ...operatorEnvironment(env), HOME, TMPDIR, IAC_RUN_ID, IAC_PLAN_FILE: jsonFile };
}

function judge(
  result: Exclude<StepResult, { kind: 'cancelled' }>,
  timeoutMs: number,
): Pick<CheckResult, 'verdict' | 'message'> {
  switch (result.kind) {
    case 'exited':
      return result.exitCode === 0
        ? { verdict: 'passed', message: 'Passed' }
        : { verdict: 'failed', message: `Failed with exit code ${result.exitCode}` };
    case 'killed':
      return { verdict: 'failed', message: `Killed by ${result.signal}` };
    case 'timed_out':
      return { verdict: 'timed_out', message: `Timed out after ${timeoutMs / 1_000} s` };
    case 'not_started':
    case 'lost':
      return { verdict: result.kind, message: result.message };
  }
}
