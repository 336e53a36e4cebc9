/** The steps `check-<name>`: commands of the operator that check a plan before anybody is asked to approve it. */

import path from 'node:path';
import type { PlanCheck } from '../../config.ts';
import type { RunReason } from '../../runs/run-reasons.ts';
import { commandEnd, finishStep, type StepContext, StepFailed, stepHooks, throwCancelled } from '../step.ts';
import { watchLog } from './diagnosis.ts';
import { operatorEnvironment } from './environment.ts';
import type { PreparedTool } from './tool-step.ts';

export interface CheckResult {
  name: string;
  required: boolean;
  verdict: 'passed' | 'failed' | 'timed_out' | 'not_started' | 'lost';
  /** A sentence without its full stop. */
  message: string;
}

/** The step of a check. `root` is the folder that the plan is for, if there are several. */
export function checkStep({ name }: PlanCheck, root: string | null = null): string {
  return root === null ? `check-${name}` : `check-${name} ${root}`;
}

/**
 * Runs every check, even after one has failed, because people want to see all of them. `jsonFile` is the plan as JSON.
 * Throws StepFailed if a required check does not pass, and the signal's reason if the signal ended it.
 */
export async function runChecks(
  tool: PreparedTool,
  context: StepContext,
  { checks, jsonFile, root }: { checks: readonly PlanCheck[]; jsonFile: string; root?: string | null },
): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const check of checks) {
    context.draining.throwIfAborted();
    results.push(await runCheck(tool, context, check, { step: checkStep(check, root), jsonFile }));
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
  tool: PreparedTool,
  context: StepContext,
  { name, required, argv: [program, ...args] }: PlanCheck,
  { step, jsonFile }: { step: string; jsonFile: string },
): Promise<CheckResult> {
  const { watching, tail } = watchLog(context);
  const argv = [program, ...args.map((word) => word.replaceAll('{plan}', jsonFile))] as const;
  await context.emit({ type: 'step.started', step, command: [...argv], ledger: null });
  const result = await tool.executor.run(
    {
      argv,
      // The checkout is not used, because such programs read settings from their working directory.
      cwd: path.dirname(jsonFile),
      env: checkEnvironment(tool.env, jsonFile),
      timeoutMs: tool.timeoutMs,
      signal: context.signal,
      interruptGraceMs: tool.interruptGraceMs,
      secrets: [...tool.secrets, ...tool.given],
    },
    stepHooks(watching, step),
  );
  const end = commandEnd(result, tool.timeoutMs);
  if (end.state === 'cancelled') return throwCancelled(context, step);
  const passed = end.state === 'succeeded';
  const message = passed ? 'Passed' : end.message;
  await context.emit({ type: 'run.checked', step, required, passed, message, lines: tail() });
  const remark = passed || required ? '' : ' (not required)';
  await finishStep(context, step, {
    state: end.state,
    message: `${message}${remark}`,
    exitCode: end.exitCode,
  });
  const verdict = end.state === 'succeeded' ? 'passed' : (end.ourFailure ?? end.state);
  return { name, required, verdict, message };
}

/** Does not contain the variables of the request, because they could change the result of a check. */
function checkEnvironment(env: Readonly<Record<string, string>>, jsonFile: string): Record<string, string> {
  const { HOME = '/', TMPDIR = '/tmp', IAC_RUN_ID = '' } = env;
  return { ...operatorEnvironment(env), HOME, TMPDIR, IAC_RUN_ID, IAC_PLAN_FILE: jsonFile };
}
