/** Decides how a plan ends, from the results of its roots. Pure. */

import { type PlanSummary, type StateChange, stateChanges } from '../../runs/deployments/deployment.ts';
import { NO_ROOT_CHANGED } from '../../runs/plan-comment.ts';
import type { Outcome } from '../pipeline.ts';
import { StepFailed } from '../step.ts';
import { summaryWords } from '../terraform/plan-summary.ts';

/** A root with a plan. `refusal` is the error of a required check that did not pass. */
export interface PlannedRoot {
  summary: PlanSummary | null;
  refusal: StepFailed | null;
}

/** `remarks` name changed files and folders that are not planned. */
export function concludePlan(
  planned: readonly (PlannedRoot | StepFailed)[],
  remarks: readonly string[] = [],
): Outcome {
  const failures = planned.filter((one) => one instanceof StepFailed);
  const plans = planned.flatMap((one) => (one instanceof StepFailed ? [] : [one]));
  const refusals = plans.flatMap(({ refusal }) => refusal ?? []);
  const [first] = [...failures, ...refusals];
  if (first === undefined) {
    const words = wordsOf(plans.map(({ summary }) => summary));
    const message = planned.length === 0 ? nothingPlanned(remarks) : words;
    return { state: 'succeeded', reason: null, message };
  }
  if (planned.length === 1) return first.outcome;
  const problems = [
    ...(failures.length > 0 ? [`${failures.length}/${planned.length} roots could not be planned`] : []),
    ...(refusals.length > 0
      ? [`${refusals.length}/${planned.length} roots did not pass a required check`]
      : []),
  ];
  const reason = failures.length > 0 ? 'step_failed' : 'check_failed';
  return { state: 'failed', reason, message: problems.join(', ') };
}

/** The message of a run that has no root to plan or to apply. */
export function nothingPlanned([first, ...more]: readonly string[]): string {
  if (first === undefined) return NO_ROOT_CHANGED;
  return `${first}${more.length > 0 ? `, and ${more.length} more remark(s)` : ''}`;
}

function wordsOf(summaries: readonly (PlanSummary | null)[]): string {
  const [first = null] = summaries;
  if (summaries.length === 1) return `Planned: ${summaryWords(first)}`;
  const sum = (of: 'add' | 'change' | 'destroy' | StateChange) =>
    summaries.reduce((total, summary) => total + (summary?.[of] ?? 0), 0);
  const counts = `${sum('add')} to add, ${sum('change')} to change, ${sum('destroy')} to destroy`;
  const others = stateChanges({
    import: sum('import'),
    forget: sum('forget'),
    move: sum('move'),
    refresh: sum('refresh'),
  });
  return [`Planned ${summaries.length} roots: ${counts}`, ...others].join(', ');
}
