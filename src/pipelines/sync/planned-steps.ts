/** The steps of a run that is told beforehand, one after the other: announced at its start, blocked when it ends early. */

import type { Step } from '../../runs/run.ts';
import type { RunEventBody } from '../../runs/run-events.ts';
import { finishStep, type StepContext } from '../tool-step.ts';

/** Also puts a step back that an earlier attempt had begun. */
export function plannedStep(
  step: string,
  position: number,
  message = 'Waiting for the steps before',
): RunEventBody {
  return { type: 'step.planned', step, position, wave: position, message };
}

export async function blockPending(context: StepContext, steps: readonly Step[]): Promise<void> {
  for (const { id, state } of steps) {
    if (state === 'pending') await finishStep(context, id, 'blocked', 'Not run');
  }
}
